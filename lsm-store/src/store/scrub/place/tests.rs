use super::*;
use crate::segment;

fn place(offset: u64, found_ms: u64) -> Place {
    Place {
        file: ScrubFile::Segment(SegmentId(3)),
        offset,
        kind: PlaceKind::Frame,
        slots: 1..3,
        span: None,
        found_ms,
        touched: None,
    }
}

fn in_run() -> Place {
    let key = |family, block| Key { family: FamilyId(family), block: BlockIndex(block) };
    Place {
        file: ScrubFile::Run(RunId(5)),
        kind: PlaceKind::Run,
        slots: 0..0,
        span: Some((key(6, 7), key(8, 9))),
        ..place(4096, 2)
    }
}

fn change(new: usize, gone: usize) -> Change {
    Change { new, gone, crowding: false }
}

#[test]
fn the_stored_form_is_frozen() {
    let mut places = Places::default();
    places.replace(in_run().file, vec![in_run()]);
    places.replace(place(0, 0).file, vec![place(0x0102, 4)]);
    places.left_out = 11;
    let mut golden = vec![1, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0];
    golden.extend_from_slice(&[3, 9, 1, 0, 0, 0, 0, 0]);
    [5, 4096, 2, 0, 6, 7, 8, 9_u64].iter().for_each(|number| golden.extend_from_slice(&number.to_le_bytes()));
    golden.extend_from_slice(&[4, 6, 0, 0, 0, 0, 0, 0]);
    [3, 0x0102, 4_u64].iter().for_each(|number| golden.extend_from_slice(&number.to_le_bytes()));
    golden.extend_from_slice(&[1, 0, 0, 0, 3, 0, 0, 0]);
    golden.resize(golden.len() + 32, 0);
    assert_eq!(places.encode(), golden);
    assert_eq!(Places::decode(&golden), Some(places));
    assert_eq!(Places::decode(&golden[..golden.len() - 1]), None);
    golden[0] = 2;
    assert_eq!(Places::decode(&golden), None);
}

#[test]
fn a_new_look_at_a_file_replaces_what_was_known_of_it() {
    let mut places = Places::default();
    let file = place(0, 0).file;
    assert_eq!(places.replace(file, vec![place(10, 1), place(20, 1)]), change(2, 0));
    assert_eq!(places.replace(in_run().file, vec![in_run()]), change(1, 0));
    assert_eq!(places.replace(file, vec![place(20, 2), place(30, 2)]), change(1, 1));
    let dates: Vec<_> = places.iter().map(|place| (place.offset, place.found_ms)).collect();
    assert_eq!(dates, [(4096, 2), (20, 1), (30, 2)]);
    assert_eq!(places.replace(file, Vec::new()), change(0, 2));
    assert_eq!(places.retain(|_| false), 1);
    assert_eq!(places.len(), 0);
}

#[test]
fn there_is_an_end_to_what_is_kept() {
    let mut places = Places::default();
    let many = (0..PLACES_MAX as u64 + 5).map(|offset| place(offset, 0)).collect();
    assert_eq!(places.replace(place(0, 0).file, many).new, PLACES_MAX);
    assert_eq!(places.replace(in_run().file, vec![in_run()]).new, 0);
    assert_eq!((places.len(), places.left_out), (PLACES_MAX, 6));
    assert_eq!(Places::decode(&places.encode()), Some(places));
}

/// What equals a block of a damaged segment was shared with it once 256 places were known elsewhere.
#[test]
fn a_file_without_a_place_is_damaged_until_a_look_finds_it_whole() {
    let (full, crowded) = (in_run().file, place(0, 0).file);
    let mut places = Places::default();
    places.replace(full, (0..PLACES_MAX as u64).map(|offset| Place { offset, ..in_run() }).collect());
    let crowding = Change { crowding: true, ..Change::default() };
    assert_eq!(places.replace(crowded, vec![place(0, 0)]), crowding);
    assert_eq!(places.replace(crowded, vec![place(0, 0)]), Change::default(), "that is known");
    let bytes = places.encode();
    let mut golden = vec![4, 0, 0, 0, 0, 0, 0, 0, 3];
    golden.resize(72, 0);
    assert!(bytes.ends_with(&golden));
    let mut places = Places::decode(&bytes).unwrap();
    assert!(places.has(crowded) && places.files().eq(&[full, crowded]) && places.len() == PLACES_MAX);
    assert_eq!(places.replace(crowded, Vec::new()), crowding);
    assert!(!places.has(crowded));
    places.replace(crowded, vec![place(0, 0)]);
    places.retain(|file| file != crowded);
    assert!(!places.has(crowded));
    places.replace(crowded, vec![place(0, 0)]);
    places.replace(full, Vec::new());
    assert_eq!(places.replace(crowded, vec![place(0, 0)]), Change { new: 1, gone: 0, crowding: true });
    assert!(places.has(crowded) && places.files().eq(&[crowded]));
}

#[test]
fn files_are_found_by_their_paths() {
    let files = [ScrubFile::Superblock, ScrubFile::Run(RunId(0xab)), ScrubFile::Segment(SegmentId(0xcd))];
    files.iter().for_each(|file| assert_eq!(ScrubFile::at(&file.path()), Some(*file)));
    assert_eq!(ScrubFile::at(&segment::path(SegmentId(1)).to_uppercase()), None);
    assert_eq!(ScrubFile::at("journal/0000000000000001"), None);
}
