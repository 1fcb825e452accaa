use super::*;
use crate::specification::{DISK_FORMAT, rows, table_of};

#[test]
fn the_specification_has_the_offsets_of_a_commit() {
    let (name, rows) = rows!(CommitHeaderV1 { magic, checksum, previous, body_bytes, sequence, version, reserved });
    assert_eq!(table_of(DISK_FORMAT, name), rows);
}
