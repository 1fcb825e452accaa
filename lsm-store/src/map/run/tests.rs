use std::mem::offset_of;

use proptest::prelude::*;

use super::format::{FOOTER_BYTES, FooterV1, HeaderV1};
use super::summary::{SummaryBuilder, decode};
use super::{Patience, Section, Stop, path};
use crate::id::{BlockIndex, LayerId, RunId, SegmentId};
use crate::layers::Lineage;
use crate::map::testing::{
    data, files_on, flush_run, key, lineage, memory_files, ordered, ordered_versions, section, stretch,
};
use crate::map::{Edit, Key, Run, RunWriter, Stretch, Target, Version};

fn found(run: &Run, key: Key) -> Option<Target> {
    let lineage = lineage(key.family.0);
    let find = |section| match run.find(section, &lineage, key.block, Patience::Wait) {
        Ok(found) => found.map(|stretch| stretch.target_of(key.block)),
        Err(Stop::Failed(error)) => panic!("{error}"),
        Err(Stop::WouldBlock) => panic!("it may wait"),
    };
    find(Section::Entries).or_else(|| find(Section::Ranges))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_run_gives_back_what_was_written(stretches in ordered(3, 9000)) {
        prop_assume!(!stretches.is_empty());
        let (device, files) = memory_files();
        let written = flush_run(&files, 7, &stretches);
        prop_assert_eq!(written.verify(), []);
        let run = Run::new(files_on(device), *written.meta());
        let read = section(&run, Section::Entries, None);
        prop_assert_eq!(&read, &stretches);
        for stretch in stretches.iter().step_by(397) {
            prop_assert_eq!(found(&run, stretch.last_key()), Some(stretch.target_of(stretch.last_key().block)));
            let from = section(&run, Section::Entries, Some(stretch.last_key()));
            let at = stretches.iter().position(|other| other == stretch).unwrap();
            prop_assert_eq!(&from[..], &stretches[at..]);
        }
        prop_assert_eq!(run.meta().blocks, stretches.iter().map(|stretch| stretch.count).sum::<u64>());
    }

    #[test]
    fn a_run_finds_the_newest_version_of_a_lineage(
        stretches in ordered_versions(2, 200),
        layers in prop::collection::btree_set(prop_oneof![49_000..51_000u64, 49_990..50_010u64], 1..200),
        from in any::<prop::sample::Index>(),
        blocks in 1..9000u64,
    ) {
        prop_assume!(!stretches.is_empty());
        let files = memory_files().1;
        let run = flush_run(&files, 7, &stretches);
        prop_assert_eq!(run.verify(), []);
        let family = stretches[0].family;
        let layers: Vec<_> = layers.into_iter().map(LayerId).collect();
        let lineage = Lineage::new(family, &layers);
        let mut seen = stretches.clone();
        seen.retain(|stretch| stretch.family == family && lineage.contains(stretch.layer));
        seen.dedup_by_key(|stretch| stretch.first);
        let start = stretches[from.index(stretches.len())];
        let from = BlockIndex(start.first.0 + start.count / 2);
        let to = BlockIndex(from.0 + blocks);
        for section in [Section::Entries, Section::Ranges] {
            let is_range = |stretch: &Stretch| stretch.count > 4096 && !matches!(stretch.target, Target::Data(_));
            let expected: Vec<_> = seen
                .iter()
                .filter(|stretch| is_range(stretch) == (section == Section::Ranges))
                .filter_map(|stretch| stretch.clip(from, to))
                .collect();
            let mut collected = Vec::new();
            prop_assert!(run.collect(section, &lineage, (from, to), Patience::Wait, &mut collected).is_ok());
            prop_assert_eq!(&collected, &expected);
            for block in [from, BlockIndex(to.0 - 1), start.first] {
                let expected = seen.iter().filter(|stretch| is_range(stretch) == (section == Section::Ranges));
                let expected = expected.copied().find(|stretch| stretch.first <= block && block < stretch.end());
                prop_assert_eq!(run.find(section, &lineage, block, Patience::Wait).ok().flatten(), expected);
            }
        }
    }

    #[test]
    fn summaries_come_back(counts in prop::collection::btree_map(any::<u32>(), 1..4u64, 0..200)) {
        let mut builder = SummaryBuilder::default();
        for (segment, count) in &counts {
            builder.add(&stretch(1, 0, *count, data(*segment, 0)));
            builder.add(&stretch(1, 9, 1, data(*segment, 0)));
        }
        let expected: Vec<_> = counts.into_iter().map(|(segment, count)| (SegmentId(segment), count + 1)).collect();
        prop_assert_eq!(decode(&builder.encode()), Some(expected));
    }

    #[test]
    fn damaged_summaries_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = decode(&bytes);
    }
}

fn small_run() -> Vec<Stretch> {
    vec![
        stretch(1, 10, 1, data(5, 0)),
        stretch(1, 20, 3, data(5, 1)),
        stretch(1, 30, 9000, Target::Hole),
        stretch(2, 0, 5000, Target::Zero),
        stretch(2, 6000, 8, Target::Zero),
        stretch(2, 7000, 2, data(9, 65_000)),
    ]
}

/// Whatever bit flips, lookups give the right answer or an error, and `verify` notices.
#[test]
fn a_flipped_bit_is_never_a_wrong_answer() {
    let (device, files) = memory_files();
    let meta = *flush_run(&files, 3, &small_run()).meta();
    let file = device.file(&path(RunId(3)));
    let probes =
        [key(1, 10), key(1, 22), key(1, 5000), key(2, 4999), key(2, 6001), key(2, 7001), key(1, 15), key(3, 0)];
    let version = Version::open(&files, &[meta]).unwrap();
    let right = probes.map(|probe| version.find(&lineage(probe.family.0), probe.block).unwrap());
    let bits = file.bytes.read().len() * 8;
    // All bits of what holds something, and a sample of the padding.
    let interesting = |bit: usize| file.bytes.read()[bit / 8] != 0 || bit.is_multiple_of(101);
    for bit in (0..bits).filter(|bit| interesting(*bit)).collect::<Vec<_>>() {
        file.bytes.write()[bit / 8] ^= 1 << (bit % 8);
        let version = Version::open(&files_on(device.clone()), &[meta]).unwrap();
        for (probe, right) in probes.iter().zip(&right) {
            if let Ok(answer) = version.find(&lineage(probe.family.0), probe.block) {
                assert_eq!(answer, *right, "bit {bit} turned {probe:?}");
            }
        }
        let run = version.runs().next().unwrap().1;
        assert_ne!(run.verify(), [], "bit {bit} went unnoticed");
        file.bytes.write()[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(version.runs().next().unwrap().1.verify(), []);
}

#[test]
fn a_run_in_another_place_is_noticed() {
    let (device, files) = memory_files();
    let meta = *flush_run(&files, 3, &small_run()).meta();
    flush_run(&files, 4, &small_run());
    let right = device.file(&path(RunId(3)));
    *right.bytes.write() = device.file(&path(RunId(4))).bytes.read().clone();
    let version = Version::open(&files_on(device), &[meta]).unwrap();
    assert!(version.find(&lineage(1), BlockIndex(10)).is_err());
}

#[test]
fn a_cut_file_is_damage() {
    let (device, files) = memory_files();
    let run = flush_run(&files, 3, &small_run());
    let file = device.file(&path(RunId(3)));
    let len = file.bytes.read().len();
    file.bytes.write().truncate(len - 4096);
    assert_ne!(run.verify(), []);
    let version = Version::default().apply(&Edit::flushed(run));
    assert!(version.find(&lineage(1), BlockIndex(10)).is_err());
}

#[test]
fn entries_win_over_ranges_of_their_run() {
    let files = memory_files().1;
    let mut writer = RunWriter::create(&files, RunId(1), 0, true).unwrap();
    writer.push_range(stretch(1, 0, 10_000, Target::Hole)).unwrap();
    writer.push_entry(stretch(1, 50, 2, data(1, 0))).unwrap();
    let run = writer.finish().unwrap();
    assert_eq!((run.meta().first, run.meta().last), (key(1, 0), key(1, 9999)));
    let version = Version::default().apply(&Edit::flushed(run));
    let pieces = version.lookup(&lineage(1), BlockIndex(40)..BlockIndex(60)).unwrap();
    let targets: Vec<_> = pieces.iter().map(|piece| (piece.first.0, piece.count, piece.target)).collect();
    let hole = Some(Target::Hole);
    assert_eq!(targets, [(40, 10, hole), (50, 2, Some(data(1, 0))), (52, 8, hole)]);
}

/// The fixed records as bytes; a change here is a change of the format.
#[test]
fn golden_run() {
    let (device, files) = memory_files();
    flush_run(&files, 0x1234, &small_run());
    let bytes = device.file("runs/0000000000001234").bytes.read().clone();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(bytes.len(), 4 * 4096);
    // The time of creation, and with it the header's seal and the digest, differ every time.
    let fixed = [0..64, 4096..4160, 8188..8192, 8192..8256, 12_284..12_288, 12_288..12_360, 16_128..16_288];
    assert_eq!(
        fixed.map(|range| hex(&bytes[range])),
        [
            "73696c7472756e480100000000000000000000000000000000000000000000000000000000000000612073746f726520746f20746573742e3412000000000000",
            "010004000500000001000000000000000a0000000000000001000000000000000000000000000000000043331c040d500900ee820fe86188040000d1fb010000",
            "b6b10d32",
            "010002000000000001000000000000001e0000000000000001000000000000000000000000000000000001e01c0400e0c9783869000000000000000000000000",
            "cc15b8fc",
            "01000000000000000a00000000000000010000000000000001000000000000001e000000000000000100000000000000050404020000000000000000000000000000000000000000",
            "73696c7472756e460100000000000000000000000000000000000000000000000000000000000000612073746f726520746f20746573742e34120000000000000100000001000000040000000000000002000000000000000e0000000000000001000000000000000a000000000000000200000000000000591b0000000000000100000000000000020000000000000030000000c3c7b2e2040000007bac4059",
        ]
    );
}

/// `docs/disk-format/runs.md` gives the offsets that the code has.
#[test]
fn the_document_tells_the_offsets() {
    let document = include_str!("../../../../docs/disk-format/runs.md");
    let header = [
        ("magic", offset_of!(HeaderV1, magic)),
        ("version", offset_of!(HeaderV1, version)),
        ("level", offset_of!(HeaderV1, level)),
        ("compat", offset_of!(HeaderV1, compat)),
        ("ro_compat", offset_of!(HeaderV1, ro_compat)),
        ("incompat", offset_of!(HeaderV1, incompat)),
        ("store", offset_of!(HeaderV1, store)),
        ("run", offset_of!(HeaderV1, run)),
        ("created_s", offset_of!(HeaderV1, created_s)),
    ];
    let footer = [
        ("magic", offset_of!(FooterV1, magic)),
        ("version", offset_of!(FooterV1, version)),
        ("level", offset_of!(FooterV1, level)),
        ("compat", offset_of!(FooterV1, compat)),
        ("ro_compat", offset_of!(FooterV1, ro_compat)),
        ("incompat", offset_of!(FooterV1, incompat)),
        ("store", offset_of!(FooterV1, store)),
        ("run", offset_of!(FooterV1, run)),
        ("entry_pages", offset_of!(FooterV1, entry_pages)),
        ("range_pages", offset_of!(FooterV1, range_pages)),
        ("entries", offset_of!(FooterV1, entries)),
        ("ranges", offset_of!(FooterV1, ranges)),
        ("blocks", offset_of!(FooterV1, blocks)),
        ("first_family", offset_of!(FooterV1, first_family)),
        ("first_block", offset_of!(FooterV1, first_block)),
        ("last_family", offset_of!(FooterV1, last_family)),
        ("last_block", offset_of!(FooterV1, last_block)),
        ("layer_min", offset_of!(FooterV1, layer_min)),
        ("layer_max", offset_of!(FooterV1, layer_max)),
        ("index_bytes", offset_of!(FooterV1, index_bytes)),
        ("index_seal", offset_of!(FooterV1, index_seal)),
        ("summary_bytes", offset_of!(FooterV1, summary_bytes)),
        ("summary_seal", offset_of!(FooterV1, summary_seal)),
        ("digest", offset_of!(FooterV1, digest)),
        ("reserved", offset_of!(FooterV1, reserved)),
        ("seal", offset_of!(FooterV1, seal)),
    ];
    let chapter = |title: &str| {
        let (_, rest) = document.split_once(title).expect("the document has the section");
        rest.split("\n## ").next().unwrap().to_owned()
    };
    for (title, fields) in [("\n## Header\n", &header[..]), ("\n## Footer\n", &footer[..])] {
        let text = chapter(title);
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
        assert_eq!(rows.len(), fields.len(), "{title:?} lists every field");
        for (row, (name, offset)) in rows.iter().zip(fields) {
            assert!(
                row.starts_with(&format!("| {offset} |")) && row.contains(&format!("| `{name}` |")),
                "{row}: {name} is at {offset}"
            );
        }
    }
    assert!(document.contains(&format!("the last {FOOTER_BYTES} bytes")));
}
