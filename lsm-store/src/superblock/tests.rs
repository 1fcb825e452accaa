use super::*;
use crate::ErrorKind;
use crate::clock::SystemClock;
use crate::device::sim::{Fault, Faults, OperationKind, SimDevice, Trigger};
use crate::rng::SeededRng;
use crate::specification::{DISK_FORMAT, rows, table_of};
use crate::store::{BackgroundMode, Budget, Environment, Options, Settings, Store};

fn environment(device: &SimDevice) -> Environment {
    let (clock, rng) = (Arc::new(SystemClock::new()), Arc::new(SeededRng::new(1)));
    Environment { device: Arc::new(device.clone()), clock, rng }
}

fn open(device: &SimDevice, read_only: bool) -> Result<Arc<Store>> {
    let options = Options { budget: Budget::divide(8 << 20), background: BackgroundMode::Manual, read_only };
    Store::open(environment(device), options)
}

fn new_store() -> SimDevice {
    let device = SimDevice::new(1, Faults::none());
    Store::create(&environment(&device), Settings::default()).unwrap();
    device
}

/// Changes all copies of the superblock as another program would, checksums included.
fn change(device: &SimDevice, change: impl Fn(&mut PageV1)) {
    let file = device.open(SUPERBLOCK_FILE, Access::Buffered).unwrap();
    for copy in 0..COPIES {
        let mut bytes = [0; PAGE_BYTES];
        file.read_at(&mut bytes, copy * PAGE_BYTES as u64).unwrap();
        let page = PageV1::mut_from_bytes(&mut bytes).unwrap();
        change(page);
        page.checksum = page.expected_checksum(copy).into();
        file.write_at(&[IoSlice::new(&bytes)], copy * PAGE_BYTES as u64).unwrap();
    }
}

/// Every file with its bytes.
fn files(device: &SimDevice) -> Vec<(String, Vec<u8>)> {
    let directories = ["", "journal", "manifest", "runs", "segments"];
    let paths = directories.iter().flat_map(|directory| {
        let names = device.list(directory).unwrap();
        names.into_iter().map(move |name| if directory.is_empty() { name } else { format!("{directory}/{name}") })
    });
    let read = |path: String| {
        let file = device.open(&path, Access::Buffered).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some((path, bytes))
    };
    paths.filter_map(read).collect()
}

#[test]
fn a_newer_store_is_refused_and_left_as_it_is() {
    let newer: [fn(&mut PageV1); 3] = [
        |page| page.version = (VERSION + 1).into(),
        |page| page.incompat = (1 << 63).into(),
        |page| page.block_bytes = 8192.into(),
    ];
    for make_newer in newer {
        let device = new_store();
        change(&device, make_newer);
        let before = files(&device);
        assert!(before.len() >= 2, "superblock and manifest at least");
        for read_only in [false, true] {
            let refused = open(&device, read_only).err().expect("the store is newer");
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
        }
        assert_eq!(Store::check(&environment(&device), &mut |_, _| {}).unwrap_err().kind(), ErrorKind::Unsupported);
        assert!(files(&device) == before, "a refused store was written to");
    }
}

#[test]
fn a_store_with_a_newer_feature_for_writing_is_only_read() {
    let device = new_store();
    change(&device, |page| page.ro_compat = 4.into());
    let before = files(&device);
    assert_eq!(open(&device, false).err().expect("it must not be written").kind(), ErrorKind::Unsupported);
    open(&device, true).unwrap();
    assert!(files(&device) == before);
}

#[test]
fn compatible_features_outlive_an_older_program() {
    let device = new_store();
    change(&device, |page| page.compat = 2.into());
    let generation = read(&device).unwrap().generation;
    open(&device, false).unwrap().close().unwrap();
    let after = read(&device).unwrap();
    assert!(after.generation > generation, "the superblock was written");
    assert_eq!(after.features.compat, 2);
}

#[test]
fn one_whole_copy_is_enough_and_damage_is_told_from_newness() {
    let device = new_store();
    let whole = read(&device).unwrap();
    for copy in 0..COPIES {
        assert_eq!(read(&device).unwrap(), whole);
        // While one pair agrees, the other may be what an interrupted update left.
        let damaged = if copy < 3 { 0 } else { copy };
        assert_eq!(damaged_copies(&device, &whole).unwrap().len() as u64, damaged);
        // The version's place: a page that fails its checksum is damaged, whatever it says.
        device.flip_bit(SUPERBLOCK_FILE, copy * PAGE_BYTES as u64 + 8, 1).unwrap();
    }
    assert_eq!(read(&device).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A disk that gave nothing made the store look damaged.
#[test]
fn a_superblock_that_cannot_be_read_is_not_damaged() {
    let device = new_store();
    device.inject(Trigger::on(OperationKind::Read).forever(), Fault::Io);
    assert_eq!(read(&device).unwrap_err().kind(), ErrorKind::Io);
    device.clear_faults();
    assert!(read(&device).is_ok());
}

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
        sequence,
        reserved,
        checksum,
    });
    assert_eq!(table_of(DISK_FORMAT, name), rows);
}

#[test]
fn a_copy_counts_only_where_it_was_written() {
    let superblock = Superblock {
        store: StoreId([5; 16]),
        generation: 2,
        manifest: 3,
        sequence: 5,
        created_ms: 4,
        features: Features::KNOWN,
    };
    let page = superblock.encode(1);
    let bytes: &[u8; PAGE_BYTES] = page.as_bytes().try_into().unwrap();
    assert_eq!(Superblock::decode(bytes, 1).unwrap(), Some(superblock));
    assert_eq!(Superblock::decode(bytes, 2).unwrap(), None);
}
