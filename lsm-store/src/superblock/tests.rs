use super::*;
use crate::specification::{DISK_FORMAT, rows, table_of};

#[test]
fn the_specification_has_its_offsets() {
    let (name, rows) = rows!(PageV1 {
        magic,
        version,
        block_bytes,
        compat,
        ro_compat,
        incompat,
        store,
        generation,
        manifest,
        created_ms,
        reserved,
        checksum,
    });
    assert_eq!(table_of(DISK_FORMAT, name), rows);
}

#[test]
fn a_copy_counts_only_where_it_was_written() {
    let superblock = Superblock { store: StoreId([5; 16]), generation: 2, manifest: 3, created_ms: 4 };
    let page = superblock.encode(1);
    let bytes: &[u8; PAGE_BYTES] = page.as_bytes().try_into().unwrap();
    assert_eq!(Superblock::decode(bytes, 1).unwrap(), Some(superblock));
    assert_eq!(Superblock::decode(bytes, 2).unwrap(), None);
}
