use super::*;

fn intervals(sets: &ViewerSets, viewers: Viewers) -> Vec<Interval> {
    sets.intervals(viewers).collect()
}

#[test]
fn the_same_roots_are_the_same_set_however_they_came_together() {
    let mut sets = ViewerSets::default();
    let one = sets.of(&[(0, 2)]).unwrap();
    let two = sets.of(&[(4, 5)]).unwrap();
    let both = sets.union(one, two);
    assert_eq!(intervals(&sets, both), [(0, 2), (4, 5)]);
    assert_eq!(sets.of(&[(0, 2), (4, 5)]), Some(both));
    let between = sets.of(&[(2, 4)]).unwrap();
    assert_eq!(sets.union(both, between), sets.of(&[(0, 5)]).unwrap());
    assert_eq!(sets.union(both, one), both);
    assert_eq!([one, two, both].map(Viewers::only), [None, Some(4), None]);
    assert_eq!(Viewers::from_bits(both.to_bits()), Some(both));
    assert_eq!((sets.of(&[]), Viewers::from_bits(0)), (None, None));
}

#[test]
fn a_full_table_makes_sets_coarser_and_never_a_single_root_of_several() {
    let mut sets = ViewerSets::bounded(4);
    for at in 0..4 {
        let viewers = sets.of(&[(0, 1), (2 + at, 3 + at)]).unwrap();
        assert_eq!((viewers.only(), sets.is_coarse()), (None, at > 1), "{at}");
        assert_eq!(intervals(&sets, viewers).len(), if at > 1 { 1 } else { 2 });
    }
}
