use std::sync::Arc;

use proptest::prelude::*;

use super::batch::{self, Batch, BatchMarks, Record, RecordKind};
use super::generation::{self, GENERATION_HEADER_BYTES, GenerationHeader};
use super::watermark::Watermark;
use crate::checksum::crc32c;
use crate::id::{BLOCK_BYTES, BlockIndex, Epoch, Generation, LayerId, Lsn, Sequence, StoreId, VolumeId};

const STORE: StoreId = StoreId([7; 16]);

fn record(kind: RecordKind, first: u64, count: u64, payload: &[u8]) -> Record {
    Record {
        volume: VolumeId(1),
        layer: LayerId(2),
        first: BlockIndex(first),
        count,
        lsn: Lsn(3),
        epoch: Epoch(4),
        kind,
        payload_bytes: payload.len() as u32,
        payload_checksum: crc32c(payload),
    }
}

fn marks() -> BatchMarks {
    BatchMarks { first: Sequence(5), synced: Sequence(4), manifest: 6, wall_ms: 7 }
}

fn encoded(records: &[Record], payload: &[u8], offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::encode(&generation::seal(STORE, Generation(9)), offset, 11, &marks(), records, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn decoded(bytes: &[u8], offset: u64) -> Option<Batch> {
    batch::decode(&generation::seal(STORE, Generation(9)), offset, bytes)
}

#[test]
fn a_batch_keeps_its_bytes() {
    let payload = vec![0xab; BLOCK_BYTES];
    let records = [record(RecordKind::Data, 8, 1, &payload), record(RecordKind::Hole, 9, 1 << 30, &[])];
    let bytes = encoded(&records, &payload, 4096);
    let golden = "534a4e4c 9bd34d5c 0b000000 00100000 0500000000000000 0400000000000000 0600000000000000 \
        0700000000000000 0200 0000000000000000000000000000 \
        0100000000000000 0200000000000000 0800000000000000 0100000000000000 0300000000000000 0400000000000000 \
        00100000 PAYLOADC 01 00000000000000 \
        0100000000000000 0200000000000000 0900000000000000 0000004000000000 0300000000000000 0400000000000000 \
        00000000 00000000 03 00000000000000";
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let golden = golden.replace(' ', "").replace("PAYLOADC", &hex(&crc32c(&payload).to_le_bytes()));
    let head = &bytes[..batch::HEADER_BYTES + 2 * batch::RECORD_BYTES];
    assert_eq!(hex(head), golden);
}

#[test]
fn a_batch_counts_only_where_it_was_written() {
    let payload = vec![1; BLOCK_BYTES];
    let bytes = encoded(&[record(RecordKind::Data, 8, 1, &payload)], &payload, 4096);
    assert!(decoded(&bytes, 4096).is_some());
    assert!(decoded(&bytes, 8192).is_none());
    assert!(batch::decode(&generation::seal(STORE, Generation(10)), 4096, &bytes).is_none());
    assert!(batch::decode(&generation::seal(StoreId([8; 16]), Generation(9)), 4096, &bytes).is_none());
}

#[test]
fn a_sealed_batch_with_impossible_sequences_is_none() {
    let payload = vec![1; BLOCK_BYTES];
    let records = [record(RecordKind::Data, 8, 1, &payload)];
    let with_first = |first, records: &[Record]| {
        let (mut bytes, marks) = (Vec::new(), BatchMarks { first: Sequence(first), ..marks() });
        batch::encode(&generation::seal(STORE, Generation(9)), 4096, 11, &marks, records, &mut bytes);
        decoded(&bytes, 4096)
    };
    assert!(with_first(0, &[]).is_none() && with_first(0, &records).is_none());
    assert!(with_first(u64::MAX, &records).is_none());
    assert_eq!(with_first(1, &[]).unwrap().last(), Sequence(0));
    assert_eq!(with_first(1, &records).unwrap().last(), Sequence(1));
}

#[test]
fn every_flipped_bit_of_a_batch_is_noticed() {
    let payload: Vec<u8> = (0..BLOCK_BYTES).map(|index| index as u8).collect();
    let bytes = encoded(&[record(RecordKind::Data, 8, 1, &payload)], &payload, 4096);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let whole = decoded(&flipped, 4096).is_some_and(|batch| batch.verified_payloads(&flipped).is_some());
        assert!(!whole, "bit {bit}");
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let kind =
        prop_oneof![Just(RecordKind::Data), Just(RecordKind::Packed), Just(RecordKind::Zero), Just(RecordKind::Hole)];
    (kind, 0..1u64 << 37, 1..4u64).prop_map(|(kind, first, count)| {
        let bytes = match kind {
            RecordKind::Data => count as usize * BLOCK_BYTES,
            RecordKind::Packed => count as usize * 2 + first as usize % 999,
            RecordKind::Zero | RecordKind::Hole => 0,
        };
        let payload = vec![first as u8; bytes];
        record(kind, first, count, &payload)
    })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(records in prop::collection::vec(any_record(), 0..12), page in 1..1000u64) {
        let payload: Vec<u8> =
            records.iter().flat_map(|record| vec![record.first.0 as u8; record.payload_bytes as usize]).collect();
        let bytes = encoded(&records, &payload, page * 64);
        let batch = decoded(&bytes, page * 64).unwrap();
        prop_assert_eq!(&batch.records, &records);
        prop_assert_eq!(batch.marks, marks());
        prop_assert_eq!(batch.verified_payloads(&bytes).unwrap().len(), records.len());
        prop_assert_eq!(batch.file_bytes(), (bytes.len() as u64).next_multiple_of(64));
    }

    #[test]
    fn arbitrary_bytes_are_no_batch(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decoded(&bytes, 4096).is_none());
    }
}

#[test]
fn a_generation_header_is_what_was_encoded_and_belongs_to_one_generation() {
    let header = GenerationHeader {
        generation: Generation(9),
        incarnation: 2,
        first: Sequence(3),
        previous: 4,
        synced: Sequence(2),
        manifest: 5,
        file_bytes: 1 << 20,
    };
    let page = header.encode(STORE);
    assert_eq!(page.len(), GENERATION_HEADER_BYTES);
    assert_eq!(GenerationHeader::decode(STORE, Generation(9), &page).unwrap(), Some(header));
    assert_eq!(GenerationHeader::decode(STORE, Generation(10), &page).unwrap(), None);
    assert_eq!(GenerationHeader::decode(STORE, Generation(9), &[0; GENERATION_HEADER_BYTES]).unwrap(), None);
}

#[test]
fn a_watermark_passes_no_gap() {
    let watermark = Arc::new(Watermark::new(Sequence(0)));
    let later = std::thread::spawn({
        let watermark = Arc::clone(&watermark);
        move || watermark.complete_and_wait(Sequence(2), Sequence(5))
    });
    while !watermark.has_waiting() {
        std::thread::yield_now();
    }
    assert_eq!(watermark.reached(), Sequence(0));
    assert!(watermark.complete_and_wait(Sequence(1), Sequence(1)));
    assert!(later.join().unwrap());
    assert_eq!(watermark.reached(), Sequence(5));
}

#[test]
fn a_failed_watermark_wakes_those_who_wait() {
    let watermark = Arc::new(Watermark::new(Sequence(0)));
    let later = std::thread::spawn({
        let watermark = Arc::clone(&watermark);
        move || watermark.wait(Sequence(2))
    });
    watermark.fail();
    assert!(!later.join().unwrap());
}
