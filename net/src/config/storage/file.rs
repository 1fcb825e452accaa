//! The file: what is in which table, opened, made and written in transactions.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition, WriteTransaction};

use super::super::id::{ClusterId, NodeId, StoreId};
use super::super::record::{self, InvalidRecord, Kind, Place};
use super::error::StorageError;

/// Name of the file in the directory `cluster` of a node's data directory.
pub const FILE_NAME: &str = "config.redb";

/// Most memory for redb's cache. What is hot is the end of the log.
const CACHE_BYTES: usize = 4 << 20;

const NEW_FILE_NAME: &str = "config.redb.new";

/// Single records, by name.
pub(super) const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Log entries, by index.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Key of the record that says whose file it is.
const IDENTITY: &str = "identity";
const IDENTITY_KIND: Kind = Kind(*b"cIdn");

/// Whose file it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The file.
    pub store: StoreId,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct IdentityV1 {
    store: StoreId,
    owner: Option<(ClusterId, NodeId)>,
}

/// The open file. Clones are the same file. Calls block; those of openraft run on threads for it.
#[derive(Clone, Debug)]
pub struct Storage {
    pub(super) database: Arc<Database>,
    store: StoreId,
}

impl Storage {
    /// Makes the file of a node that is about to found or join a cluster, in `directory`, which is made if need be.
    /// Only the owner can read it. `store` comes by chance.
    ///
    /// # Errors
    /// [`StorageError::Exists`] if there is one, or those of the disk.
    pub fn create(directory: &Path, store: StoreId) -> Result<Self, StorageError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if fs::exists(directory.join(FILE_NAME))? {
            return Err(StorageError::Exists);
        }
        // Left behind by a program that stopped before the file had its name.
        let new = directory.join(NEW_FILE_NAME);
        if fs::exists(&new)? {
            fs::remove_file(&new)?;
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
        let storage = Self::create_on(FileBackend::new(file)?, store)?;
        fs::rename(&new, directory.join(FILE_NAME))?;
        File::open(directory)?.sync_all()?;
        Ok(storage)
    }

    /// Opens the file in `directory`.
    ///
    /// # Errors
    /// [`StorageError::Missing`] if there is none; a file that another process has open, is damaged, or is newer than this
    /// program; those of the disk.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(FILE_NAME);
        if fs::exists(&path)? { Self::with(builder().open(path)?) } else { Err(StorageError::Missing) }
    }

    pub(in super::super) fn create_on(backend: impl StorageBackend, store: StoreId) -> Result<Self, StorageError> {
        let storage = Self { database: Arc::new(builder().create_with_backend(backend)?), store };
        storage.write(|transaction| {
            transaction.open_table(LOG)?;
            put_identity(transaction, &IdentityV1 { store, owner: None })
        })?;
        Ok(storage)
    }

    #[cfg(test)]
    pub(in super::super) fn open_on(backend: impl StorageBackend) -> Result<Self, StorageError> {
        Self::with(builder().create_with_backend(backend)?)
    }

    fn with(database: Database) -> Result<Self, StorageError> {
        let mut storage = Self { database: Arc::new(database), store: StoreId([0; 16]) };
        storage.store = storage.identity_record()?.store;
        Ok(storage)
    }

    /// The file's own id.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Whose file it is.
    ///
    /// # Errors
    /// [`StorageError::Unassigned`] if it is nobody's yet; a damaged record; those of the disk.
    pub fn identity(&self) -> Result<Identity, StorageError> {
        let (cluster, node) = self.identity_record()?.owner.ok_or(StorageError::Unassigned)?;
        Ok(Identity { cluster, node, store: self.store })
    }

    /// Makes the file a node's, for good: the founder's, which is node 1, or that of one that was told its id when it joined.
    ///
    /// # Errors
    /// [`StorageError::Assigned`] if it is another's; those of the disk.
    pub fn assign(&self, cluster: ClusterId, node: NodeId) -> Result<Identity, StorageError> {
        let identity = Identity { cluster, node, store: self.store };
        match self.identity() {
            Ok(found) if found == identity => Ok(identity),
            Ok(found) => Err(StorageError::Assigned { store: self.store, node: found.node }),
            Err(StorageError::Unassigned) => {
                let record = IdentityV1 { store: self.store, owner: Some((cluster, node)) };
                self.write(|transaction| put_identity(transaction, &record))?;
                Ok(identity)
            }
            Err(error) => Err(error),
        }
    }

    fn identity_record(&self) -> Result<IdentityV1, StorageError> {
        let read = self.database.begin_read()?;
        let record = read.open_table(RECORDS)?.get(IDENTITY)?;
        let record = record.ok_or(InvalidRecord::Damaged).and_then(|record| {
            // Sealed for no file in particular: only it says which file this is.
            record::decode(IDENTITY_KIND, Place::default(), record.value())
        });
        record.map_err(|why| StorageError::record("identity", why))
    }

    /// Runs a transaction, which is durable when this returns, or not made at all.
    pub(super) fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let transaction = self.database.begin_write()?;
        change(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

fn put_identity(transaction: &WriteTransaction, identity: &IdentityV1) -> Result<(), StorageError> {
    let record = record::encode(IDENTITY_KIND, Place::default(), identity);
    transaction.open_table(RECORDS)?.insert(IDENTITY, record.as_slice())?;
    Ok(())
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}
