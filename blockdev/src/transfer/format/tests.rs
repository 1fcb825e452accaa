use std::mem::offset_of;

use proptest::prelude::*;

use super::*;
use crate::root::PLAIN_DOMAIN;

const DOCUMENT: &str = include_str!("../../../../docs/stream-format.md");

/// The rows of a struct's table without their last column.
pub(in crate::transfer) fn table_of(structure: &str) -> String {
    let heading = format!("`{structure}`");
    let section = DOCUMENT.lines().skip_while(|line| !(line.starts_with('#') && line.contains(&heading))).skip(1);
    let rows = section.take_while(|line| !line.starts_with('#'));
    let rows =
        rows.filter(|line| line.strip_prefix("| ").is_some_and(|row| row.starts_with(|c: char| c.is_ascii_digit())));
    rows.map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|\n").collect()
}

macro_rules! assert_specified {
    ($struct:ty { $($field:ident),* }) => {{
        let offsets = [$(offset_of!($struct, $field)),*, size_of::<$struct>()];
        let names = [$(stringify!($field)),*];
        let row = |at: usize| format!("| {} | {} | `{}` |\n", offsets[at], offsets[at + 1] - offsets[at], names[at]);
        assert_eq!(table_of(stringify!($struct)), (0..names.len()).map(row).collect::<String>());
    }};
}
pub(in crate::transfer) use assert_specified;

#[test]
fn the_document_has_the_offsets_of_the_code() {
    assert_specified!(PreambleV1 { magic, version, incompat });
    assert_specified!(RecordHeaderV1 { checksum, previous, kind, check, body_bytes });
    assert_specified!(BeginV1 {
        store,
        snapshot,
        created_ms,
        size_bytes,
        domain,
        volume_name_bytes,
        snapshot_name_bytes,
        base_name_bytes,
        reserved,
        base,
        base_size_bytes,
        base_root
    });
    assert_specified!(ZerosV1 { first, count });
    assert_specified!(BlocksV1 { first, count, reserved });
    assert_specified!(BlockV1 { fingerprint, encoding, reserved, payload_bytes });
    assert_specified!(OfferV1 { first, count, reserved });
    assert_specified!(EndV1 { root, data_blocks, zero_blocks, records });
}

fn any_name() -> impl Strategy<Value = VolumeName> {
    "[a-z0-9][a-z0-9._-]{0,62}".prop_map(|text| text.parse().unwrap())
}

fn any_begin() -> impl Strategy<Value = Record> {
    let base = (any_name(), any::<u64>(), 1..=VOLUME_BYTES_MAX, any::<[u8; 32]>()).prop_map(
        |(snapshot, id, size_bytes, digest)| Base {
            id: VolumeId(id),
            snapshot,
            size_bytes,
            root: Root { domain: PLAIN_DOMAIN, digest },
        },
    );
    let ids = (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), 1..=VOLUME_BYTES_MAX);
    (ids, any_name(), any_name(), prop::option::of(base)).prop_map(
        |((store, id, created_ms, size_bytes), volume, snapshot, base)| {
            let (store, id, domain) = (StoreId(store), VolumeId(id), PLAIN_DOMAIN);
            Record::Begin(Begin { store, id, volume, snapshot, created_ms, size_bytes, domain, base })
        },
    )
}

fn any_block() -> impl Strategy<Value = StoredBlock> {
    let form = prop_oneof![
        Just((Encoding::Raw, BLOCK_BYTES)),
        (1..=3840_usize).prop_map(|len| (Encoding::Lz4, len)),
        (1..=3840_usize).prop_map(|len| (Encoding::Zstd, len)),
    ];
    (form, any::<[u8; 32]>(), any::<u8>()).prop_map(|((encoding, len), fingerprint, byte)| StoredBlock {
        fingerprint: Fingerprint(fingerprint),
        encoding,
        bytes: vec![byte; len],
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any_begin(),
        (any::<u64>(), any::<u64>()).prop_map(|(first, count)| Record::Zeros { first: BlockIndex(first), count }),
        (any::<u64>(), prop::collection::vec(any_block(), 1..9))
            .prop_map(|(first, blocks)| Record::Blocks { first: BlockIndex(first), blocks }),
        (any::<u64>(), prop::collection::vec(any::<[u8; 32]>().prop_map(Fingerprint), 1..40))
            .prop_map(|(first, fingerprints)| Record::Offer { first: BlockIndex(first), fingerprints }),
        (any::<[u8; 32]>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
            |(root, data_blocks, zero_blocks, records)| {
                Record::End(End { root, data_blocks, zero_blocks, records })
            }
        ),
    ]
}

/// Header and body of a record that follows the preamble.
fn taken_apart(bytes: &[u8]) -> (RecordHeaderV1, &[u8]) {
    let (header, body) = RecordHeaderV1::read_from_prefix(&bytes[PREAMBLE_BYTES..]).unwrap();
    assert_eq!(header.body_bytes.get() as usize, body.len());
    (header, body)
}

proptest! {
    #[test]
    fn records_are_decoded_as_they_were_encoded(record in any_record()) {
        let mut bytes = Vec::new();
        StreamEncoder::default().encode(&record, &mut bytes);
        let (header, body) = taken_apart(&bytes);
        prop_assert!(body.len() <= StreamRecords::body_bytes_max(&header).unwrap());
        prop_assert_eq!(StreamRecords::decode(&header, body), Some(record));
        let preamble = decode_preamble(bytes.first_chunk().unwrap()).ok().unwrap();
        prop_assert_eq!((preamble.checksum, preamble.asks), (header.previous.get(), false));
        prop_assert_eq!(crc32c(&bytes[PREAMBLE_BYTES + 4..]), header.checksum.get());
    }

    #[test]
    fn any_bytes_are_a_record_or_none(kind in 0..7_u8, body in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(record) = StreamRecords::decode(&RecordHeaderV1::new(kind, 0, 0), &body) {
            let mut bytes = Vec::new();
            StreamEncoder::default().encode(&record, &mut bytes);
            prop_assert_eq!(taken_apart(&bytes).1, &body[..], "one record has one form");
        }
    }
}

#[test]
fn the_largest_record_is_within_the_bound() {
    let block = StoredBlock { fingerprint: Fingerprint([7; 32]), encoding: Encoding::Raw, bytes: vec![1; BLOCK_BYTES] };
    let record = Record::Blocks { first: BlockIndex(0), blocks: vec![block; STORED_BLOCKS_MAX] };
    let mut bytes = Vec::new();
    StreamEncoder::default().encode(&record, &mut bytes);
    let (header, body) = taken_apart(&bytes);
    assert_eq!(body.len(), StreamRecords::body_bytes_max(&header).unwrap());
    assert_eq!(StreamRecords::decode(&header, body), Some(record));
    let record = Record::Offer { first: BlockIndex(0), fingerprints: vec![Fingerprint([7; 32]); OFFER_BLOCKS_MAX] };
    let mut bytes = Vec::new();
    StreamEncoder::asking().encode(&record, &mut bytes);
    let (header, body) = taken_apart(&bytes);
    assert_eq!(body.len(), StreamRecords::body_bytes_max(&header).unwrap());
    assert_eq!(StreamRecords::decode(&header, body), Some(record));
}

pub(in crate::transfer) fn small_stream() -> Vec<u8> {
    small(StreamEncoder::default(), false)
}

/// The same of a stream that asks.
pub(in crate::transfer) fn small_asking_stream() -> Vec<u8> {
    small(StreamEncoder::asking(), true)
}

fn small(mut encoder: StreamEncoder, asks: bool) -> Vec<u8> {
    let name = |text: &str| text.parse::<VolumeName>().unwrap();
    let base = Base {
        id: VolumeId(3),
        snapshot: name("mon"),
        size_bytes: 5 << 12,
        root: Root { domain: PLAIN_DOMAIN, digest: [0xba; 32] },
    };
    let begin = Begin {
        store: StoreId(*b"0123456789abcdef"),
        id: VolumeId(5),
        volume: name("vm"),
        snapshot: name("tue"),
        created_ms: 1_795_680_000_000,
        size_bytes: (6 << 12) - 1,
        domain: PLAIN_DOMAIN,
        base: Some(base),
    };
    let block =
        |byte, encoding, len| StoredBlock { fingerprint: Fingerprint([byte; 32]), encoding, bytes: vec![byte; len] };
    let blocks = vec![block(1, Encoding::Lz4, 3), block(2, Encoding::Zstd, 2)];
    let mut bytes = Vec::new();
    let mut append = |record| encoder.encode(&record, &mut bytes);
    append(Record::Begin(begin));
    append(Record::Zeros { first: BlockIndex(1), count: 2 });
    if asks {
        let fingerprints = blocks.iter().map(|block| block.fingerprint).collect();
        append(Record::Offer { first: BlockIndex(4), fingerprints });
    }
    append(Record::Blocks { first: BlockIndex(4), blocks });
    append(Record::End(End { root: [0xee; 32], data_blocks: 2, zero_blocks: 2, records: if asks { 4 } else { 3 } }));
    bytes
}

#[test]
fn golden_bytes() {
    let bytes: String = small_stream().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, GOLDEN);
}

const GOLDEN: &str = concat!(
    "53696c745374726d0100000000000000",
    "400e0e2c6f652bf90100000068000000",
    "3031323334353637383961626364656605000000000000000058de16a2010000ff5f0000000000000000000002030300",
    "03000000000000000050000000000000babababababababababababababababababababababababababababababababa",
    "766d7475656d6f6e",
    "df722f2d400e0e2c0200000010000000",
    "01000000000000000200000000000000",
    "73bbb686df722f2d030000005d000000",
    "040000000000000002000000000000000101010101010101010101010101010101010101010101010101010101010101",
    "010003000202020202020202020202020202020202020202020202020202020202020202020002000101010202",
    "f30d52fd73bbb6860400000038000000",
    "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee02000000000000000200000000000000",
    "0300000000000000",
);

#[test]
fn golden_bytes_of_a_stream_that_asks() {
    let bytes: String = small_asking_stream().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, GOLDEN_ASKING);
}

const GOLDEN_ASKING: &str = concat!(
    "53696c745374726d0100000001000000",
    "91187e29d7cf6e240181d6b768000000",
    "3031323334353637383961626364656605000000000000000058de16a2010000ff5f0000000000000000000002030300",
    "03000000000000000050000000000000babababababababababababababababababababababababababababababababa",
    "766d7475656d6f6e",
    "cf35caae91187e29022c310d10000000",
    "01000000000000000200000000000000",
    "4a86fabacf35caae055447ec50000000",
    "040000000000000002000000000000000101010101010101010101010101010101010101010101010101010101010101",
    "0202020202020202020202020202020202020202020202020202020202020202",
    "377fa2c54a86faba03f3ccfb5d000000",
    "040000000000000002000000000000000101010101010101010101010101010101010101010101010101010101010101",
    "010003000202020202020202020202020202020202020202020202020202020202020202020002000101010202",
    "4ca242b6377fa2c50473a83738000000",
    "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee02000000000000000200000000000000",
    "0400000000000000",
);
