//! Ids and units of the cluster that several rooms speak of, one type each. Ids and epochs only grow, and none is ever used
//! twice.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name(pub u64);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

pub(crate) use {id, random_id};

id! {
    /// A node of the cluster, from 1. A node that lost its disk comes back as another one: under the old id it would answer
    /// for what it lost.
    NodeId
}
id! {
    /// A volume of the cluster, from 1, the same on every node. What a node calls it in its own store is the node's affair.
    VolumeId
}
id! {
    /// Fencing number of a volume's replica set, from 1: it grows whenever who acknowledges writes changes. 0 is before any.
    Epoch
}
id! {
    /// Position in one volume's write order, from 1; the same on every replica. 0 is before any record.
    Lsn
}
random_id! {
    /// A cluster, for good, drawn with its authority: nodes of two clusters never take each other's messages for their own.
    ClusterId
}

impl Lsn {
    /// The position behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
