use super::*;
use crate::specification::{DISK_FORMAT, rows, table_of};

#[test]
fn the_specification_has_the_offsets_of_a_batch() {
    let header = rows!(BatchHeaderV1 {
        magic,
        checksum,
        previous,
        payload_bytes,
        first,
        synced,
        manifest,
        wall_ms,
        record_count,
        reserved,
    });
    let record =
        rows!(RecordV1 { volume, layer, first, count, lsn, epoch, payload_bytes, payload_checksum, kind, reserved });
    for (name, rows) in [header, record] {
        assert_eq!(table_of(DISK_FORMAT, name), rows, "the table of {name} in the specification");
    }
}
