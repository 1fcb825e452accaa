use proptest::prelude::*;

use super::*;
use crate::replica::log::specified::assert_specified;

const LINK: Link = Link { sequence: Sequence(0x21), previous: 0x0a0b_0c0d, synced: Sequence(0x1f) };
const OFFSET: u64 = 8192;

fn seals() -> Seals {
    Seals::new(&Place::new(net::id::VolumeId(7)), FileNumber(3))
}

fn encode(content: &Content<'_>) -> Vec<u8> {
    let encoded = content.encode(&seals(), OFFSET, &LINK);
    let bytes = encoded.pieces.concat();
    assert_eq!(bytes.len() as u64, encoded.bytes);
    assert_eq!(bytes[..4], encoded.checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(FrameHeader, Bytes)> {
    let header = FrameHeader::decode(&seals(), OFFSET, bytes)?;
    let body = Bytes::copy_from_slice(bytes.get(FRAME_HEADER_BYTES..)?.get(..header.body_bytes())?);
    header.is_whole(&seals(), OFFSET, &body).then_some((header, body))
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n").collect()
}

#[test]
fn the_document_has_the_offsets_of_a_frame() {
    assert_specified!(LogFrameV1 {
        checksum,
        previous,
        sequence,
        synced,
        lsn,
        standing_epoch,
        kind,
        standing,
        reserved,
        record_count,
        body_bytes,
        body_checksum,
        reserved_end
    });
    assert_specified!(LogRecordV1 { epoch, payload_bytes, kind, reserved });
}

#[test]
fn frames_have_these_bytes() {
    let opening = Record { epoch: Epoch(4), body: Body::Opening };
    let write = Record { epoch: Epoch(5), body: Body::Write(Bytes::from_static(b"silt")) };
    let records = [opening, write];
    let contents = [
        Content::Records { first: Lsn(0x11), records: &records },
        Content::Truncate { beyond: Lsn(0x11) },
        Content::Note(Standing::Outside),
        Content::Note(Standing::Doubtful(Epoch(6))),
        Content::Note(Standing::Sound(Epoch(6))),
        Content::Checkpoint { floor: Lsn(0x11) },
        Content::Tear,
    ];
    let bytes: Vec<_> = contents.iter().map(|content| hex(&encode(content))).collect();
    assert_eq!(bytes.join("\n"), GOLDEN);
}

/// Sixteen bytes a line.
const GOLDEN: &str = "\
d841951f0d0c0b0a2100000000000000
1f000000000000001100000000000000
00000000000000000100000002000000
24000000153980b00000000000000000
04000000000000000000000001000000
05000000000000000400000002000000
73696c74000000000000000000000000
00000000000000000000000000000000

0bcaf8b90d0c0b0a2100000000000000
1f000000000000001100000000000000
00000000000000000200000000000000
000000006af09fbb0000000000000000

a355483f0d0c0b0a2100000000000000
1f000000000000000000000000000000
00000000000000000300000000000000
000000006af09fbb0000000000000000

21474dc70d0c0b0a2100000000000000
1f000000000000000000000000000000
06000000000000000301000000000000
000000006af09fbb0000000000000000

695739590d0c0b0a2100000000000000
1f000000000000000000000000000000
06000000000000000302000000000000
000000006af09fbb0000000000000000

3cde6c2a0d0c0b0a2100000000000000
1f000000000000001100000000000000
00000000000000000400000000000000
000000006af09fbb0000000000000000

9441dcac0d0c0b0a2100000000000000
1f000000000000000000000000000000
00000000000000000500000000000000
000000006af09fbb0000000000000000
";

#[test]
fn a_frame_counts_at_its_own_place_only() {
    let bytes = encode(&Content::Tear);
    assert!(FrameHeader::decode(&seals(), OFFSET, &bytes).is_some());
    assert!(FrameHeader::decode(&seals(), OFFSET + 64, &bytes).is_none());
    for (volume, number) in [(8, 3), (7, 4)] {
        let seals = Seals::new(&Place::new(net::id::VolumeId(volume)), FileNumber(number));
        assert!(FrameHeader::decode(&seals, OFFSET, &bytes).is_none());
    }
}

#[test]
fn a_changed_byte_is_seen() {
    let records = [Record { epoch: Epoch(5), body: Body::Write(Bytes::from_static(b"silt")) }];
    let bytes = encode(&Content::Records { first: Lsn(1), records: &records });
    for at in 0..FRAME_HEADER_BYTES + RECORD_BYTES + 4 {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(decode(&changed).is_none(), "byte {at}");
    }
}

#[test]
fn what_no_program_writes_makes_no_sense() {
    let records = [Record { epoch: Epoch(5), body: Body::Write(Bytes::from_static(b"silt")) }];
    let bytes = encode(&Content::Records { first: Lsn(1), records: &records });
    let (header, body) = decode(&bytes).unwrap();
    let changes: [fn(&mut LogFrameV1); 4] = [
        |frame| frame.kind = 0,
        |frame| frame.kind = 6,
        |frame| frame.record_count = 0.into(),
        |frame| frame.record_count = 2.into(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = header;
        change(&mut changed.0);
        assert_eq!(changed.change(&body), None, "change {index}");
    }
    for (at, value) in [(8, 5), (12, 1), (12, 3)] {
        let mut changed = body.to_vec();
        changed[at] = value;
        assert_eq!(header.change(&changed), None, "byte {at} of the record");
    }
    let mut note = decode(&encode(&Content::Note(Standing::Outside))).unwrap().0;
    note.0.standing_epoch = 1.into();
    assert_eq!(note.change(&[]), None);
}

#[test]
fn a_frame_takes_what_fits() {
    let record = |len: usize| Record { epoch: Epoch(1), body: Body::Write(vec![0; len].into()) };
    let take = |lens: &[usize]| first_frame(&lens.iter().map(|len| record(*len)).collect::<Vec<_>>(), 1000);
    assert_eq!(take(&[484, 484]), (2, 1088));
    assert_eq!(take(&[484, 485]).0, 1);
    assert_eq!(take(&[5000, 1]), (1, (64 + 16 + 5000u64).next_multiple_of(64)));
    assert_eq!(first_frame(&vec![record(0); 2000], 1 << 20).0, RECORDS_MAX);
}

fn any_records() -> impl Strategy<Value = Vec<Record>> {
    let body = prop_oneof![
        Just(Body::Opening),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|payload| Body::Write(payload.into()))
    ];
    prop::collection::vec((any::<u64>().prop_map(Epoch), body), 1..20)
        .prop_map(|records| records.into_iter().map(|(epoch, body)| Record { epoch, body }).collect())
}

proptest! {
    #[test]
    fn any_records_are_decoded_as_they_were_encoded(records in any_records(), first in any::<u64>().prop_map(Lsn)) {
        let content = Content::Records { first, records: &records };
        let bytes = encode(&content);
        prop_assert_eq!(first_frame(&records, 1 << 20), (records.len(), bytes.len() as u64));
        let (header, body) = decode(&bytes).unwrap();
        prop_assert_eq!(header.link(), LINK);
        prop_assert_eq!(header.file_bytes(), bytes.len() as u64);
        prop_assert_eq!(header.change(&body), Some(content.change()));
        prop_assert_eq!(header.records(&body), Some((first, records)));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_none());
        if let Ok((frame, body)) = LogFrameV1::ref_from_prefix(&bytes) {
            let (header, body) = (FrameHeader(*frame), Bytes::copy_from_slice(body));
            let _ = (header.change(&body), header.records(&body), header.file_bytes());
        }
    }
}
