//! What nodes say to each other.

use super::journal::{Log, Standing};

/// A message. It names its sender's epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Message {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) epoch: u8,
    pub(super) body: Body,
}

/// Its content. `age` is how long ago the primary sent what began this, by the primary's clock, and at most a lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Body {
    /// What have you got?
    Greet { age: u8 },
    /// What a start of a node has.
    Status { start: u8, age: u8, granted: bool, standing: Standing, end: (u8, u8) },
    /// The primary's log, for a start of a node. Real ones begin where the logs part: a receiver cannot tell.
    Append { to: u8, age: u8, as_member: bool, log: Log, committed: u8, flushable: u8 },
    /// What a start of a node holds and has synced of it.
    Appended { start: u8, age: u8, granted: bool, held: u8, synced: u8 },
    /// The sender was primary before and has stopped.
    Resigned,
}

impl Message {
    /// True if it is about a lease, which it then dates.
    pub(super) fn age(&mut self) -> Option<&mut u8> {
        match &mut self.body {
            Body::Greet { age } | Body::Status { age, .. } | Body::Append { age, .. } | Body::Appended { age, .. } => {
                Some(age)
            }
            Body::Resigned => None,
        }
    }

    /// Whose clock dates it.
    pub(super) fn dated_by(&self) -> u8 {
        match self.body {
            Body::Greet { .. } | Body::Append { .. } | Body::Resigned => self.from,
            Body::Status { .. } | Body::Appended { .. } => self.to,
        }
    }

    /// A grant that is too old is none.
    pub(super) fn forget_old_grant(&mut self, oldest: u8) {
        if let Body::Status { age, granted, .. } | Body::Appended { age, granted, .. } = &mut self.body
            && (*age >= oldest || !*granted)
        {
            (*age, *granted) = (oldest, false);
        }
    }
}
