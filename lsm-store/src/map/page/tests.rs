use proptest::prelude::*;

use super::builder::{FinishedPage, PageBuilder};
use super::{PAGE_BYTES, Page, Stretch, Target};
use crate::id::{BlockIndex, LayerId};
use crate::map::Place;
use crate::map::testing::{data, key, ordered, ordered_versions, stretch, version};

fn build(stretches: &[Stretch]) -> Vec<FinishedPage> {
    let mut builder = PageBuilder::new();
    let mut pages: Vec<_> = stretches.iter().filter_map(|stretch| builder.push(*stretch)).collect();
    pages.extend(std::iter::from_fn(|| builder.finish()));
    pages
}

fn decode(pages: &[FinishedPage]) -> Vec<Stretch> {
    let mut out = Vec::new();
    for page in pages {
        let parsed = Page::parse(&page.bytes).unwrap();
        let before = out.len();
        parsed.check(|stretch| out.push(stretch)).unwrap();
        assert_eq!(out[before].place(), page.first, "the page says where it begins");
    }
    out
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(stretches in prop_oneof![ordered(4, 3000), ordered_versions(4, 1000)]) {
        prop_assert_eq!(decode(&build(&stretches)), stretches);
    }

    #[test]
    fn search_finds_what_covers_or_follows(stretches in ordered(3, 400), layer in 0..3u64, block in 0..200_000u64) {
        for page in build(&stretches) {
            let page = Page::parse(&page.bytes).unwrap();
            let wanted = key(layer, block);
            let expected = page.stretches().find(|stretch| stretch.last_key() >= wanted);
            let near = Place::new(wanted, LayerId(0));
            prop_assert_eq!(page.stretches_near(near).find(|stretch| stretch.last_key() >= wanted), expected);
        }
    }

    #[test]
    fn search_finds_what_stands_at_a_place_or_behind_it(
        stretches in ordered_versions(3, 300),
        at in any::<prop::sample::Index>(),
        layer in 49_000..51_000u64,
    ) {
        prop_assume!(!stretches.is_empty());
        let wanted = Place::new(stretches[at.index(stretches.len())].key(), LayerId(layer));
        for page in build(&stretches) {
            let page = Page::parse(&page.bytes).unwrap();
            let expected = page.stretches().find(|stretch| stretch.place() >= wanted);
            prop_assert_eq!(page.stretches_near(wanted).find(|stretch| stretch.place() >= wanted), expected);
        }
    }

    #[test]
    fn damaged_pages_are_errors_or_stretches_but_no_panics(
        stretches in prop_oneof![ordered(3, 300), ordered_versions(3, 100)],
        damage in prop::collection::vec((0..PAGE_BYTES, any::<u8>()), 1..40),
    ) {
        for mut page in build(&stretches) {
            damage.iter().for_each(|(at, byte)| page.bytes[*at] ^= byte);
            if let Ok(page) = Page::parse(&page.bytes) {
                let _ = page.check(|stretch| assert!(stretch.count > 0));
                let _ = page.stretches_near(Place::new(key(1, 5), LayerId(7))).count();
            }
        }
    }
}

#[test]
fn bounds_of_a_volume_and_a_segment_can_be_stored() {
    let last = BlockIndex::COUNT_MAX - 1;
    let stretches = [
        stretch(0, 0, 1 << 16, data(u32::MAX, 0)),
        stretch(0, last, 1, data(0, u16::MAX)),
        stretch(u64::MAX, 0, BlockIndex::COUNT_MAX, Target::Hole),
    ];
    assert_eq!(decode(&build(&stretches)), stretches);
}

#[test]
#[should_panic(expected = "keeps the bounds")]
fn a_stretch_beyond_its_segment_is_refused() {
    PageBuilder::new().push(stretch(0, 0, 2, data(0, u16::MAX)));
}

#[test]
#[should_panic(expected = "follows")]
fn disorder_is_refused() {
    let mut builder = PageBuilder::new();
    builder.push(stretch(0, 10, 2, Target::Zero));
    builder.push(stretch(0, 11, 2, Target::Zero));
}

#[test]
#[should_panic(expected = "follows")]
fn versions_of_other_blocks_are_refused() {
    let mut builder = PageBuilder::new();
    builder.push(version(0, 9, 10, 2, Target::Zero));
    builder.push(version(0, 8, 10, 3, Target::Zero));
}

/// The page of the document's example.
#[test]
fn golden_page() {
    let stretches = [
        stretch(7, 100, 1, data(3, 10)),
        stretch(7, 105, 2, data(3, 11)),
        stretch(7, 107, 1, data(4, 0)),
        version(7, 9, 120, 8, Target::Zero),
        version(7, 7, 120, 8, data(3, 13)),
        stretch(9, 2, 1, Target::Hole),
    ];
    let pages = build(&stretches);
    let [page] = &pages[..] else { panic!("one page") };
    let used = page.bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let hex: String = page.bytes[..used].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "01000600030000000700000000000000640000000000000007000000000000000000000000000000000025312c0805040224604170002210563468"
    );
}

/// 16,384 random blocks of 1 TiB flushed together, as `docs/decisions/2026-11-23-levelled-map.md` counts them.
#[test]
fn sizes_are_as_promised() {
    let rng = crate::rng::SeededRng::new(1);
    let mut blocks: Vec<u64> = (0..16_384).map(|_| rng.below(1 << 28)).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let flushed: Vec<_> = (0..)
        .zip(&blocks)
        .map(|(at, block)| stretch(1, *block, 1, data(9 + (at >> 13), (at & 0x1fff) as u16)))
        .collect();
    let bytes = build(&flushed).len() * PAGE_BYTES;
    assert!(bytes * 10 < flushed.len() * 27, "{bytes} bytes for {} flushed entries", flushed.len());

    let base: Vec<_> = (0..100_000)
        .map(|block| stretch(1, block, 1, data(rng.below(1 << 15) as u32, rng.below(1 << 13) as u16)))
        .collect();
    let bytes = build(&base).len() * PAGE_BYTES;
    assert!(bytes * 10 < base.len() * 43, "{bytes} bytes for {} random entries", base.len());

    let long: Vec<_> = (0..20_000).map(|at| stretch(1, at * 8192, 8192, data(at as u32, 0))).collect();
    let bytes = build(&long).len() * PAGE_BYTES;
    assert!(bytes < long.len() * 8192 / 1000, "{bytes} bytes for {} sequential stretches", long.len());
}
