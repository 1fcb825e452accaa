//! What can go wrong on a simulated disk, and when.

use std::time::Duration;

/// The operations of a device that faults can be tied to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// Making a file or a directory.
    Create,
    /// Opening a file.
    Open,
    /// Listing a directory.
    List,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Syncing a directory.
    SyncDirectory,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Setting a file's length.
    SetLen,
    /// Allocating space.
    Allocate,
}

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The operation fails with `EIO`. A write leaves a part of its sectors behind, as the seed has it; a sync makes nothing
    /// durable and forgets nothing.
    Io,
    /// The operation fails with `ENOSPC`, whatever room there is. A write leaves a part of its sectors behind.
    NoSpace,
    /// A sync of a file fails with `EIO` and, like Linux, forgets what was written: the next sync succeeds, buffered reads
    /// still show the data, direct reads and crashes do not.
    DropDirty,
    /// The operation fails with `EMFILE`: the process has too many files open.
    NoDescriptor,
    /// A write or a sync (of a file or a directory) is acknowledged and not done. A lost write still extends the file.
    Lost,
    /// A write is acknowledged and lands elsewhere, at once and for good, within the length of the file there.
    Misdirected {
        /// The file it lands in; `None` is the one it was meant for.
        path: Option<String>,
        /// Where in that file, in bytes.
        offset: u64,
    },
    /// A read fills half of its buffer and fails with `UnexpectedEof`.
    ShortRead,
    /// A read takes this long on the device's clock. In a queue other reads overtake it.
    Slow(Duration),
}

impl Fault {
    /// Whether operations of this kind can suffer it.
    fn suits(&self, kind: Option<OperationKind>) -> bool {
        use OperationKind::{Create, Open, Read, Sync, SyncDirectory, Write};
        match self {
            Self::Io | Self::NoSpace => true,
            Self::NoDescriptor => matches!(kind, Some(Create | Open)),
            Self::DropDirty => kind == Some(Sync),
            Self::Lost => matches!(kind, Some(Write | Sync | SyncDirectory)),
            Self::Misdirected { .. } => kind == Some(Write),
            Self::ShortRead | Self::Slow(_) => kind == Some(Read),
        }
    }
}

/// When a fault strikes: it counts the operations it matches from the moment it is handed to the device.
#[derive(Clone, Debug)]
pub struct Trigger {
    kind: Option<OperationKind>,
    prefix: String,
    skips_left: u64,
    strikes_left: u64,
}

impl Trigger {
    /// The next operation of any kind.
    #[must_use]
    pub fn any() -> Self {
        Self { kind: None, prefix: String::new(), skips_left: 0, strikes_left: 1 }
    }

    /// The next operation of one kind.
    #[must_use]
    pub fn on(kind: OperationKind) -> Self {
        Self { kind: Some(kind), ..Self::any() }
    }

    /// Only operations on paths that start so. The path of an open file is the one it was opened by.
    #[must_use]
    pub fn under(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Lets `count` matching operations pass first.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.skips_left = count;
        self
    }

    /// Strikes `count` matching operations in a row, not just one.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.strikes_left = count;
        self
    }

    /// Strikes every matching operation from then on.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(u64::MAX)
    }

    fn strikes(&mut self, kind: OperationKind, path: &str) -> bool {
        let matches = self.kind.is_none_or(|wanted| wanted == kind) && path.starts_with(&self.prefix);
        if !matches || self.strikes_left == 0 {
            return false;
        }
        if self.skips_left > 0 {
            self.skips_left -= 1;
            return false;
        }
        if self.strikes_left != u64::MAX {
            self.strikes_left -= 1;
        }
        true
    }
}

/// A script of faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    script: Vec<(Trigger, Fault)>,
}

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a fault.
    ///
    /// # Panics
    /// If operations of the trigger's kind cannot suffer it.
    #[must_use]
    pub fn with(mut self, trigger: Trigger, fault: Fault) -> Self {
        self.add(trigger, fault);
        self
    }

    pub(super) fn add(&mut self, trigger: Trigger, fault: Fault) {
        assert!(fault.suits(trigger.kind), "{fault:?} cannot strike {:?}", trigger.kind);
        self.script.retain(|(trigger, _)| trigger.strikes_left > 0);
        self.script.push((trigger, fault));
    }

    pub(super) fn clear(&mut self) {
        self.script.clear();
    }

    /// What strikes this operation. Every trigger counts it, the first that is due wins.
    pub(super) fn strike(&mut self, kind: OperationKind, path: &str) -> Option<Fault> {
        let mut struck = None;
        for (trigger, fault) in &mut self.script {
            if trigger.strikes(kind, path) && struck.is_none() {
                struck = Some(fault.clone());
            }
        }
        struck
    }
}
