//! Checks the tables of offsets in the specification of the format against the structs.

use std::fmt::Write;
use std::mem::offset_of;

use crate::segment::fingerprint_page::FingerprintPageV1;
use crate::segment::frame::FrameHeaderV1;
use crate::segment::slot_table::SlotTablePageV1;
use crate::segment::trailer::{FooterV1, HeaderV1, IdentityV1};

const SPECIFICATION: &str = include_str!("../../../../docs/disk-format/segment-part.md");

/// The rows `| offset | bytes | field |` of a struct, every byte of which must belong to a field.
macro_rules! rows {
    ($struct:ty { $($field:ident),* }) => {{
        let offsets = [$(offset_of!($struct, $field)),*, size_of::<$struct>()];
        let mut rows = String::new();
        for (index, name) in [$(stringify!($field)),*].into_iter().enumerate() {
            let (offset, bytes) = (offsets[index], offsets[index + 1] - offsets[index]);
            writeln!(rows, "| {offset} | {bytes} | `{name}` |").unwrap();
        }
        (stringify!($struct), rows)
    }};
}

/// The table under the heading that names `structure`, without its last column.
fn table_of(structure: &str) -> String {
    let heading = format!("`{structure}`");
    let section = SPECIFICATION.lines().skip_while(|line| !(line.starts_with('#') && line.contains(&heading))).skip(1);
    let rows = section.take_while(|line| !line.starts_with('#')).filter(|line| {
        line.strip_prefix("| ").is_some_and(|row| row.starts_with(|first: char| first.is_ascii_digit()))
    });
    rows.map(|row| row.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|\n").collect()
}

#[test]
fn tables_of_offsets_are_those_of_the_code() {
    let structs = [
        rows!(IdentityV1 {
            magic,
            version,
            class,
            reserved,
            store,
            segment,
            domain,
            epoch,
            created_ms,
            features_compat,
            features_ro_compat,
            features_incompat
        }),
        rows!(HeaderV1 { identity, reserved, checksum }),
        rows!(FrameHeaderV1 { checksum, encoding, blocks_less_one, payload_bytes }),
        rows!(SlotTablePageV1 { anchors, entries, checksum }),
        rows!(FingerprintPageV1 { fingerprints, reserved, checksum }),
        rows!(FooterV1 {
            identity,
            slots,
            frames,
            blocks,
            frames_end,
            slot_table_offset,
            slot_table_pages,
            fingerprints_offset,
            fingerprint_pages,
            file_bytes,
            reserved,
            directory_digest,
            reserved_rest,
            checksum
        }),
    ];
    for (name, rows) in structs {
        assert_eq!(table_of(name), rows, "the table of {name} in the specification");
    }
}
