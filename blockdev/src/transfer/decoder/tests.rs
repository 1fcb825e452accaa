use lsm_store::ErrorKind;
use lsm_store::id::BlockIndex;

use super::*;
use crate::transfer::format::HEADER_BYTES;
use crate::transfer::format::tests::{small_asking_stream, small_stream};

/// All records of bytes that come `piece` at a time.
fn decoded(bytes: &[u8], piece: usize) -> Result<Vec<Record>, StreamError> {
    decoded_by(StreamDecoder::default(), bytes, piece)
}

fn decoded_by(mut decoder: StreamDecoder, bytes: &[u8], piece: usize) -> Result<Vec<Record>, StreamError> {
    let mut records = Vec::new();
    for part in bytes.chunks(piece) {
        decoder.push(part);
        while let Some(record) = decoder.next_record()? {
            records.push(record);
        }
    }
    decoder.finish().map(|()| records)
}

#[test]
fn a_stream_is_decoded_in_whatever_pieces_it_comes() {
    let bytes = small_stream();
    let whole = decoded(&bytes, bytes.len()).unwrap();
    assert_eq!(whole.len(), 4);
    for piece in [1, 2, 3, 7, 16, 100] {
        assert_eq!(decoded(&bytes, piece).unwrap(), whole);
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_ends_early() {
    let bytes = small_stream();
    for len in 0..bytes.len() {
        let cut = decoded(&bytes[..len], 64).unwrap_err();
        assert!(matches!(cut, StreamError::Truncated { .. }), "at {len}: {cut}");
        assert_eq!(cut.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(decoded(&[bytes.clone(), vec![0]].concat(), 64), Err(StreamError::Trailing));
    assert_eq!(decoded(&bytes.repeat(2), 64), Err(StreamError::Trailing));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = small_stream();
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decoded(&damaged, 64).is_err(), "bit {bit}");
    }
}

#[test]
fn other_files_and_newer_streams_are_told_apart_from_damage() {
    assert_eq!(decoded(&[0x5a; 100], 64), Err(StreamError::NotAStream));
    let mut newer = small_stream();
    newer[8] = 2;
    assert_eq!(decoded(&newer, 64), Err(StreamError::Unsupported { what: "version", found: 2 }));
    let mut newer = small_stream();
    newer[15] = 0x80;
    assert_eq!(decoded(&newer, 64), Err(StreamError::Unsupported { what: "set of features", found: 1 << 31 }));
}

fn encoded(records: &[Record]) -> Vec<u8> {
    encoded_by(format::StreamEncoder::default(), records)
}

fn encoded_by(mut encoder: format::StreamEncoder, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    records.iter().for_each(|record| encoder.encode(record, &mut bytes));
    bytes
}

#[test]
fn records_out_of_order_are_refused_however_good_their_checksums() {
    let good = decoded(&small_stream(), 64).unwrap();
    let [begin, zeros, blocks, end] = &good[..] else { panic!("four records") };
    assert_eq!(encoded(&good), small_stream());
    let refused = |records: &[&Record]| {
        let records: Vec<_> = records.iter().map(|record| (*record).clone()).collect();
        let error = decoded(&encoded(&records), 64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    };
    refused(&[zeros, blocks, end]);
    refused(&[begin, begin, zeros, blocks, end]);
    refused(&[begin, blocks, zeros, end]);
    refused(&[begin, zeros, zeros, blocks, end]);
    refused(&[begin, zeros, end]);
    refused(&[begin, zeros, blocks, end, zeros]);
    let end_of = |count| Record::End(End { root: [0xee; 32], data_blocks: 0, zero_blocks: count, records: 2 });
    let zeros = |first, count| Record::Zeros { first: BlockIndex(first), count };
    for (first, count) in [(1, 0), (0, 7), (6, 1), (u64::MAX, 1), (1, u64::MAX)] {
        refused(&[begin, &zeros(first, count), &end_of(count)]);
    }
    assert!(decoded(&encoded(&[begin.clone(), zeros(0, 6), end_of(6)]), 64).is_ok());
}

#[test]
fn a_record_that_is_missing_repeated_or_of_another_stream_is_noticed() {
    let bytes = small_stream();
    let lens = [104, 16, 93].map(|body| HEADER_BYTES + body);
    let [zeros, blocks, end] = [1, 2, 3].map(|records| PREAMBLE_BYTES + lens[..records].iter().sum::<usize>());
    let unchained = |record| Err(StreamError::Damaged { record, why: "it does not follow the record before" });
    assert_eq!(decoded(&[&bytes[..zeros], &bytes[blocks..]].concat(), 64), unchained(1));
    assert_eq!(decoded(&[&bytes[..blocks], &bytes[zeros..]].concat(), 64), unchained(2));
    let mut records = decoded(&bytes, 64).unwrap();
    let Record::Begin(begin) = &mut records[0] else { panic!("a stream has a beginning") };
    begin.created_ms += 1;
    assert_eq!(decoded(&[&bytes[..zeros], &encoded(&records)[zeros..]].concat(), 64), unchained(1));
    assert_eq!(decoded(&[&encoded(&records)[..end], &bytes[end..]].concat(), 64), unchained(3));
}

#[test]
fn a_stream_that_asks_is_for_who_answers() {
    let (asking, plain) = (small_asking_stream(), small_stream());
    assert_eq!(decoded_by(StreamDecoder::asking(), &asking, 13).unwrap().len(), 5);
    assert_eq!(decoded(&asking, 64), Err(StreamError::Asks));
    assert_eq!(decoded_by(StreamDecoder::asking(), &plain, 64), Err(StreamError::AsksNothing));
    let records = decoded_by(StreamDecoder::asking(), &asking, 64).unwrap();
    let [begin, zeros, offer, blocks, end] = &records[..] else { panic!("five records") };
    let end_of =
        |data_blocks, zero_blocks, records| Record::End(End { root: [0xee; 32], data_blocks, zero_blocks, records });
    let by = |records: &[&Record]| {
        let records: Vec<_> = records.iter().map(|record| (*record).clone()).collect();
        decoded_by(StreamDecoder::asking(), &encoded_by(format::StreamEncoder::asking(), &records), 64)
    };
    assert_eq!(encoded_by(format::StreamEncoder::asking(), &records), asking);
    // What is wanted may come late, and twice is for others to notice; nothing comes that was not offered.
    assert!(by(&[begin, offer, blocks, &end_of(2, 0, 3)]).is_ok());
    for wrong in [
        &[begin, blocks, offer, end][..],
        &[begin, zeros, blocks, &end_of(2, 2, 3)],
        &[begin, offer, zeros, blocks, end],
        &[begin, offer, offer, blocks, end],
        &[begin, zeros, offer, end],
    ] {
        assert_eq!(by(wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let plain_offer = [begin.clone(), offer.clone(), end_of(0, 0, 2)];
    assert_eq!(decoded(&encoded(&plain_offer), 64).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_stream_that_asks_is_as_whole_as_any() {
    let bytes = small_asking_stream();
    for len in 0..bytes.len() {
        let cut = decoded_by(StreamDecoder::asking(), &bytes[..len], 64).unwrap_err();
        assert!(matches!(cut, StreamError::Truncated { .. }), "at {len}: {cut}");
    }
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decoded_by(StreamDecoder::asking(), &damaged, 64).is_err(), "bit {bit}");
    }
}
