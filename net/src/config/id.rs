//! Ids and units of the cluster, one type each. Ids and epochs only grow and none is ever used twice.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A node of the cluster, from 1. A node that lost its disk comes back as another one.
    NodeId
}
id! {
    /// A volume of the cluster, from 1. What a node calls it in its own store is the node's affair.
    VolumeId
}
id! {
    /// A snapshot of a volume, from 1, counted over all volumes.
    SnapshotId
}
id! {
    /// A token that lets one node join, from 1.
    TokenId
}
id! {
    /// Fencing number of a volume's replica set, from 1: it grows whenever who acknowledges writes changes.
    Epoch
}
id! {
    /// Position in one volume's write order; the same on every replica.
    Lsn
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

random_id! {
    /// A cluster, by chance: nodes of two clusters never take each other's messages for their own.
    ClusterId
}
random_id! {
    /// One configuration file, by chance: a node whose file was lost and made anew is not the node it was.
    StoreId
}
