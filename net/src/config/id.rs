//! Ids of the configuration, beside those that other rooms know too.

pub use crate::id::{ClusterId, Epoch, Lsn, NodeId, VolumeId};
use crate::id::{id, random_id};
pub use crate::join::TokenId;

id! {
    /// A snapshot of a volume, from 1, counted over all volumes.
    SnapshotId
}
random_id! {
    /// One configuration file, by chance: a node whose file was lost and made anew is not the node it was.
    StoreId
}
