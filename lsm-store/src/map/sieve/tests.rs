use proptest::prelude::*;

use super::{Origin, Sieve, Source, Sources, Wanted};
use crate::error::Result;
use crate::id::LayerId;
use crate::layers::{LayerTree, Visibility};
use crate::map::Stretch;
use crate::map::join::Joined;
use crate::map::run::Section;
use crate::map::testing::{Model, data, ordered, readers, stretch, version};

/// Hands out three stretches at a time.
struct Listed(std::vec::IntoIter<Stretch>);

impl Source for Listed {
    fn next_batch(&mut self, batch: &mut Vec<Stretch>) -> Result<bool> {
        batch.clear();
        batch.extend(self.0.by_ref().take(3));
        Ok(!batch.is_empty())
    }
}

/// Each list as the entries of a group of its own.
fn sources(lists: Vec<Vec<Stretch>>) -> Sources {
    let origin = |group| Origin { group, section: Section::Entries };
    let listed = |(group, list): (usize, Vec<Stretch>)| (origin(group), Box::new(Listed(list.into_iter())) as _);
    lists.into_iter().enumerate().map(listed).collect()
}

fn sifted(lists: Vec<Vec<Stretch>>, layers: &Visibility) -> Vec<Stretch> {
    let sieve = Sieve::visible(sources(lists), layers, Wanted::Section(Section::Entries), false);
    Joined::new(sieve).collect::<Result<_>>().unwrap()
}

proptest! {
    #[test]
    fn the_newest_source_wins(lists in prop::collection::vec(ordered(2, 30), 0..5)) {
        let mut model = Model::default();
        lists.iter().rev().flatten().for_each(|stretch| model.write(stretch));
        prop_assert_eq!(sifted(lists, &readers(0..2)), model.stretches());
    }
}

#[test]
fn versions_are_cut_where_others_begin_and_joined_again() {
    let mut tree = LayerTree::default();
    (1..=3).for_each(|id| tree.add(LayerId(id), (id > 1).then(|| LayerId(id - 1))));
    [1, 2, 3].map(LayerId).into_iter().for_each(|layer| tree.add_root(layer));
    let base = version(1, 1, 0, 100, data(1, 0));
    let lists = || vec![vec![version(1, 3, 50, 1, data(3, 0))], vec![version(1, 2, 40, 20, data(2, 0))], vec![base]];
    let expected = [
        version(1, 1, 0, 40, data(1, 0)),
        version(1, 2, 40, 10, data(2, 0)),
        version(1, 1, 40, 10, data(1, 40)),
        version(1, 3, 50, 1, data(3, 0)),
        version(1, 2, 50, 1, data(2, 10)),
        version(1, 1, 50, 1, data(1, 50)),
        version(1, 2, 51, 9, data(2, 11)),
        version(1, 1, 51, 9, data(1, 51)),
        version(1, 1, 60, 40, data(1, 60)),
    ];
    assert_eq!(sifted(lists(), &tree.visibility()), expected);
    tree.remove_root(LayerId(3));
    tree.remove_root(LayerId(2));
    assert_eq!(sifted(lists(), &tree.visibility()), [base]);
}

/// The older group was written when layer 2 stood for layer 1 already; the newer one bears the id of the layer itself.
#[test]
fn a_layer_that_another_stands_for_is_not_older_in_a_newer_group() {
    let mut tree = LayerTree::default();
    tree.add(LayerId(1), None);
    tree.add(LayerId(2), Some(LayerId(1)));
    tree.add_root(LayerId(2));
    let lists = vec![vec![version(1, 1, 5, 1, data(7, 7))], vec![version(1, 2, 5, 1, data(3, 3))]];
    assert_eq!(sifted(lists, &tree.visibility()), [version(1, 2, 5, 1, data(7, 7))]);
    assert_eq!(sifted(vec![vec![stretch(4, 0, 1, data(1, 1))]], &tree.visibility()), []);
}
