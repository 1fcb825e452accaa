//! openraft's own suite, what crashes leave, what damage does, and the bytes.

mod crash;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::{env, fs, process};

use openraft::testing::{StoreBuilder, Suite};

use super::super::disk::Disk;
use super::super::forms::Types;
use super::super::id::{ClusterId, NodeId, StoreId};
use super::*;

const STORE: StoreId = StoreId([5; 16]);
const CLUSTER: ClusterId = ClusterId([6; 16]);

struct OnDisks;

impl StoreBuilder<Types, Storage, Machine, Disk> for OnDisks {
    async fn build(&self) -> Result<(Disk, Storage, Machine), openraft::StorageError<u64>> {
        let disk = Disk::default();
        let storage = Storage::create_on(disk.open(), STORE).unwrap();
        let machine = Machine::open(storage.clone()).unwrap();
        Ok((disk, storage, machine))
    }
}

#[test]
fn openrafts_suite_passes() {
    Suite::test_all(OnDisks).unwrap();
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("net-config-{}-{test}", process::id()));
        fs::remove_dir_all(&path).ok();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn a_file_is_made_once_and_only_its_owner_reads_it() {
    let directory = Directory::new("made-once");
    let path = directory.0.join("cluster");
    assert!(matches!(Storage::open(&path), Err(StorageError::Missing)));
    let storage = Storage::create(&path, STORE).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path.join(FILE_NAME)), 0o600);
    assert_eq!(mode(&path), 0o700);
    assert!(matches!(Storage::create(&path, STORE), Err(StorageError::Exists)));
    let error = Storage::open(&path).unwrap_err();
    assert!(matches!(error, StorageError::Database(redb::Error::DatabaseAlreadyOpen)), "{error:?}");
    drop(storage);
    assert_eq!(Storage::open(&path).unwrap().store(), STORE);
}

#[test]
fn an_unfinished_file_is_made_anew() {
    let directory = Directory::new("unfinished");
    fs::create_dir_all(&directory.0).unwrap();
    fs::write(directory.0.join("config.redb.new"), b"half").unwrap();
    drop(Storage::create(&directory.0, STORE).unwrap());
    assert_eq!(Storage::open(&directory.0).unwrap().store(), STORE);
}

#[test]
fn a_file_belongs_to_one_node_for_good() {
    let disk = Disk::default();
    let storage = Storage::create_on(disk.open(), STORE).unwrap();
    assert!(matches!(storage.identity(), Err(StorageError::Unassigned)));
    let identity = Identity { cluster: CLUSTER, node: NodeId(3), store: STORE };
    assert_eq!(storage.assign(CLUSTER, NodeId(3)).unwrap(), identity);
    assert_eq!(storage.assign(CLUSTER, NodeId(3)).unwrap(), identity);
    for (cluster, node) in [(CLUSTER, NodeId(4)), (ClusterId([7; 16]), NodeId(3))] {
        let error = storage.assign(cluster, node).unwrap_err();
        assert!(matches!(error, StorageError::Assigned { store: STORE, node: NodeId(3) }), "{error:?}");
    }
    disk.crash(|| false);
    assert_eq!(Storage::open_on(disk.open()).unwrap().identity().unwrap(), identity);
}
