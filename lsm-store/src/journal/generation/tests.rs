use super::*;
use crate::specification::{DISK_FORMAT, rows, table_of};

#[test]
fn the_specification_has_the_offsets_of_a_generation() {
    let (name, rows) = rows!(HeaderV1 {
        magic,
        version,
        previous,
        compat,
        ro_compat,
        incompat,
        store,
        generation,
        incarnation,
        first,
        synced,
        manifest,
        file_bytes,
        reserved,
        checksum,
    });
    assert_eq!(table_of(DISK_FORMAT, name), rows);
}
