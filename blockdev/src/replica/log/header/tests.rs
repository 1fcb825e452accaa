use proptest::prelude::*;

use super::*;
use crate::replica::log::specified::assert_specified;

const NUMBER: FileNumber = FileNumber(3);

fn place() -> Place {
    Place::new(net::id::VolumeId(7))
}

fn header() -> Header {
    let history = History::new(vec![(Epoch(2), Lsn(5)), (Epoch(4), Lsn(9))], Lsn(12)).unwrap();
    let state = State { history, floor: Lsn(6), standing: Standing::Sound(Epoch(4)), is_torn: true, is_doubted: true };
    let (first, synced, boot) = (Sequence(20), Sequence(18), BootId([0xb0; 16]));
    Header { first, synced, previous: 0x1234_5678, boot, is_install: true, state }
}

#[test]
fn the_document_has_the_offsets_of_a_header() {
    assert_specified!(LogHeaderV1 {
        magic,
        version,
        previous,
        compat,
        ro_compat,
        incompat,
        volume,
        number,
        boot,
        first,
        synced,
        floor,
        end,
        standing_epoch,
        standing,
        is_torn,
        is_doubted,
        is_install,
        epoch_count,
        epochs,
        reserved,
        checksum
    });
    assert_specified!(LogEpochV1 { epoch, first });
}

#[test]
fn a_header_has_these_bytes() {
    let (bytes, checksum) = header().encode(&place(), NUMBER);
    let words: Vec<_> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    assert_eq!(&bytes[..8], b"SILTRLOG");
    assert_eq!(words[1], 0x1234_5678_0000_0001);
    assert_eq!(words[2..7], [0, 0, 0, 7, 3]);
    assert_eq!(bytes[56..72], [0xb0; 16]);
    assert_eq!(words[9..14], [20, 18, 6, 12, 4]);
    assert_eq!(words[14], 0x0000_0002_0101_0102);
    assert_eq!(words[15..19], [2, 5, 4, 9]);
    assert!(bytes[152..8188].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[8188..], checksum.to_le_bytes());
    assert_eq!(checksum, 0x7c46_3849);
}

#[test]
fn a_header_counts_in_its_own_file_only() {
    let (bytes, checksum) = header().encode(&place(), NUMBER);
    assert_eq!(Header::decode(&place(), NUMBER, &bytes).unwrap(), Some((header(), checksum)));
    assert_eq!(Header::decode(&place(), NUMBER.next(), &bytes).unwrap(), None);
    assert_eq!(Header::decode(&Place::new(net::id::VolumeId(8)), NUMBER, &bytes).unwrap(), None);
    assert_eq!(Header::decode(&place(), NUMBER, &bytes[1..]).unwrap(), None);
    assert_eq!(Header::decode(&place(), NUMBER, &[0; HEADER_BYTES]).unwrap(), None);
}

#[test]
fn what_is_newer_or_makes_no_sense_is_told_apart() {
    let decode = |at: usize, value: u8| {
        let (mut bytes, _) = header().encode(&place(), NUMBER);
        bytes[at] = value;
        let checksum = checksum(&place(), NUMBER, &bytes);
        bytes[CHECKSUM_OFFSET..].copy_from_slice(&checksum.to_le_bytes());
        Header::decode(&place(), NUMBER, &bytes)
    };
    for at in [8, 24, 32] {
        assert!(matches!(decode(at, 2), Err(LogError::Unsupported { found: 2, .. })), "{at}");
    }
    assert_eq!(decode(16, 2).unwrap().unwrap().0, header(), "a compatible feature");
    // Volume, number, first, floor, end, standing, flags, epochs.
    for (at, value) in [(40, 1), (48, 1), (79, 0x40), (88, 13), (103, 0x40), (112, 3), (113, 2), (115, 2), (117, 2)] {
        assert!(matches!(decode(at, value), Err(LogError::Corrupt { .. })), "{at}");
    }
    assert!(matches!(decode(136, 1), Err(LogError::Corrupt { .. })), "epochs that fall");
}

fn any_standing() -> impl Strategy<Value = Standing> {
    let epoch = any::<u64>().prop_map(Epoch);
    prop_oneof![Just(Standing::Outside), epoch.clone().prop_map(Standing::Doubtful), epoch.prop_map(Standing::Sound)]
}

fn any_history() -> impl Strategy<Value = History> {
    prop::collection::vec((1..1000u64, 1..1000u64), 0..=EPOCHS_MAX).prop_map(|runs| {
        let mut history = History::default();
        let mut epoch = 0;
        for (step, count) in runs {
            epoch += step;
            history.extend(Epoch(epoch), count);
        }
        history
    })
}

proptest! {
    #[test]
    fn any_header_is_decoded_as_it_was_encoded(
        history in any_history(), standing in any_standing(), flags in any::<[bool; 3]>(), boot in any::<[u8; 16]>(),
        first in 1..LSN_END, synced in any::<u64>(), previous in any::<u32>(), share in 0..=100u64
    ) {
        let floor = Lsn(history.end().lsn.0 * share / 100);
        let state = State { history, floor, standing, is_torn: flags[0], is_doubted: flags[1] };
        let (first, synced, boot, is_install) = (Sequence(first), Sequence(synced), BootId(boot), flags[2]);
        let header = Header { first, synced, previous, boot, is_install, state };
        let (bytes, checksum) = header.encode(&place(), NUMBER);
        prop_assert_eq!(Header::decode(&place(), NUMBER, &bytes).unwrap(), Some((header, checksum)));
    }
}
