use proptest::prelude::*;

use super::{Joined, Overlay, Source};
use crate::error::Result;
use crate::map::Stretch;
use crate::map::testing::{Model, ordered};

/// Hands out three stretches at a time.
struct Listed(std::vec::IntoIter<Stretch>);

impl Source for Listed {
    fn next_batch(&mut self, batch: &mut Vec<Stretch>) -> Result<bool> {
        batch.clear();
        batch.extend(self.0.by_ref().take(3));
        Ok(!batch.is_empty())
    }
}

proptest! {
    #[test]
    fn the_newest_source_wins(sources in prop::collection::vec(ordered(2, 30), 0..5)) {
        let mut model = Model::default();
        sources.iter().rev().flatten().for_each(|stretch| model.write(stretch));
        let boxed = sources.into_iter().map(|listed| Box::new(Listed(listed.into_iter())) as Box<dyn Source>).collect();
        let pieces = Overlay::new(boxed).map(|piece| piece.map(|(_, stretch)| stretch));
        let merged: Vec<Stretch> = Joined::new(pieces).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(merged, model.stretches());
    }
}
