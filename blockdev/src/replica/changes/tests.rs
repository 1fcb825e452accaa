use proptest::prelude::*;

use super::*;

const BLOCK: u64 = BLOCK_BYTES;

fn extent(blocks: u64, changed: bool) -> ChangedExtent {
    ChangedExtent { len: blocks * BLOCK, changed }
}

#[test]
fn what_is_on_its_way_to_the_store_has_changed() {
    let extents = [extent(4, false), extent(1, true), extent(3, false)];
    let offset = 10 * BLOCK;
    assert_eq!(mark(&extents, offset, vec![], 9), extents);
    let touched = vec![(15 * BLOCK + 1, 15 * BLOCK + 2), (11 * BLOCK + 5, 12 * BLOCK)];
    let marked = [extent(1, false), extent(1, true), extent(2, false), extent(2, true), extent(2, false)];
    assert_eq!(mark(&extents, offset, touched.clone(), 9), marked);
    assert_eq!(mark(&extents, offset, touched, 2), marked[..2]);
    assert_eq!(mark(&extents, offset, vec![(0, u64::MAX - BLOCK)], 9), [extent(8, true)]);
}

proptest! {
    #[test]
    fn blocks_are_marked_one_by_one(
        parts in prop::collection::vec((1..5u64, any::<bool>()), 1..6),
        touched in prop::collection::vec((0..30 * BLOCK, 1..5 * BLOCK), 0..6),
    ) {
        let mut extents: Vec<ChangedExtent> = Vec::new();
        for (blocks, changed) in parts {
            match extents.last_mut() {
                Some(last) if last.changed == changed => last.len += blocks * BLOCK,
                _ => extents.push(extent(blocks, changed)),
            }
        }
        let touched: Vec<_> = touched.into_iter().map(|(first, len)| (first, first + len)).collect();
        let expand = |extents: &[ChangedExtent]| -> Vec<bool> {
            extents.iter().flat_map(|it| vec![it.changed; (it.len / BLOCK) as usize]).collect()
        };
        let first = 4;
        let mut expected = expand(&extents);
        for (at, changed) in expected.iter_mut().enumerate() {
            let block = (first + at as u64) * BLOCK;
            *changed |= touched.iter().any(|(from, end)| *from < block + BLOCK && block < *end);
        }
        let marked = mark(&extents, first * BLOCK, touched, usize::MAX);
        prop_assert!(marked.windows(2).all(|pair| pair[0].changed != pair[1].changed));
        prop_assert_eq!(expand(&marked), expected);
    }
}
