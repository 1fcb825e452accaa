//! Checks the tables of offsets in the specification of the format against the structs.

use crate::segment::fingerprint_page::FingerprintPageV1;
use crate::segment::frame::FrameHeaderV1;
use crate::segment::slot_table::SlotTablePageV1;
use crate::segment::trailer::{FooterV1, HeaderV1, IdentityV1};
use crate::specification::{rows, table_of};

const SPECIFICATION: &str = include_str!("../../../../docs/disk-format/segments.md");

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
        assert_eq!(table_of(SPECIFICATION, name), rows, "the table of {name} in the specification");
    }
}
