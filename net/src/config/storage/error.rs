//! What can go wrong with the file.

use super::super::id::{NodeId, StoreId};
use super::super::record::InvalidRecord;

/// Why the configuration's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is a file already.
    #[error("this node has a configuration already: it belongs to a cluster, or began to join one")]
    Exists,
    /// There is no file.
    #[error(
        "this node has no configuration file. If it belonged to a cluster and lost the file, remove it there and let it join \
         as a new node"
    )]
    Missing,
    /// The file belongs to another node.
    #[error("configuration file {store} belongs to node {node} already")]
    Assigned {
        /// The file.
        store: StoreId,
        /// The node.
        node: NodeId,
    },
    /// The file belongs to no node yet.
    #[error("this node has not joined a cluster yet")]
    Unassigned,
    /// The operating system says no.
    #[error("cannot use the configuration file")]
    Io(#[from] std::io::Error),
    /// The database says no.
    #[error("the configuration's database failed")]
    Database(#[from] redb::Error),
    /// A record is not what it should be.
    #[error("the configuration's {what} cannot be used: {why}")]
    Record {
        /// Which record.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The runtime is stopping.
    #[error("the program is stopping")]
    Stopping,
}

impl StorageError {
    pub(super) fn record(what: &'static str, why: InvalidRecord) -> Self {
        Self::Record { what, why: why.to_string() }
    }
}

/// All of redb's errors are one here.
macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StorageError {
            fn from(error: redb::$error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}

from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError, SetDurabilityError);
