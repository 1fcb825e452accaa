use super::{FilterBudget, FilterKeys};
use crate::map::Target;
use crate::map::testing::{key, stretch};
use crate::rng::SeededRng;

#[test]
fn every_block_of_every_stretch_is_found() {
    let budget = FilterBudget::new(1 << 20);
    let stretches: Vec<_> = [1, 7, 8, 63, 64, 1000, 70_000]
        .into_iter()
        .enumerate()
        .map(|(at, count)| stretch(3, 5 + at as u64 * 100_000, count, Target::Zero))
        .collect();
    let mut keys = FilterKeys::default();
    stretches.iter().for_each(|stretch| keys.add(stretch));
    let filter = keys.build(&budget, 0).unwrap();
    for stretch in &stretches {
        assert!((stretch.first.0..stretch.end().0).all(|block| filter.may_contain(key(3, block))), "{stretch:?}");
    }
}

#[test]
fn few_absent_blocks_get_through() {
    let budget = FilterBudget::new(1 << 20);
    let rng = SeededRng::new(3);
    let mut keys = FilterKeys::default();
    (0..20_000).for_each(|_| keys.add(&stretch(1, rng.below(1 << 28) * 2, 1, Target::Zero)));
    let filter = keys.build(&budget, 0).unwrap();
    let let_through = (0..100_000).filter(|_| filter.may_contain(key(1, rng.below(1 << 28) * 2 + 1))).count();
    assert!(let_through < 3_500, "{let_through} of 100,000 absent blocks got through");
}

#[test]
fn the_budget_is_kept_and_given_back() {
    let budget = FilterBudget::new(4 * 64);
    let build = |level| {
        let mut keys = FilterKeys::default();
        keys.add(&stretch(1, 1, 1, Target::Zero));
        keys.build(&budget, level)
    };
    let deep: Vec<_> = (0..4).filter_map(|_| build(3)).collect();
    assert_eq!(deep.len(), 3, "a quarter is kept for the upper levels");
    let upper = build(0).expect("the upper levels may use all");
    assert!(build(0).is_none());
    drop((deep, upper));
    assert_eq!(budget.used_bytes(), 0);
}
