//! What a node has written: in its memory, with its kernel, and on its disk.

/// Records of a log at most.
pub(super) const RECORDS_MAX: usize = 14;

/// One record: the epoch that wrote it, and which write it is, 0 for the opening of the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Record {
    pub(super) epoch: u8,
    pub(super) write: u8,
}

/// A log. LSNs count from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Log {
    len: u8,
    records: [Record; RECORDS_MAX],
}

/// A set of writes.
pub(super) type Writes = u16;

impl Log {
    pub(super) fn len(&self) -> u8 {
        self.len
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records[..usize::from(self.len)]
    }

    pub(super) fn push(&mut self, record: Record) {
        self.records[usize::from(self.len)] = record;
        self.len += 1;
    }

    pub(super) fn truncate(&mut self, len: u8) {
        self.len = self.len.min(len);
        self.records[usize::from(self.len)..].fill(Record::default());
    }

    /// The epoch that wrote an LSN, 0 if there is no such record.
    pub(super) fn epoch_of(&self, lsn: u8) -> u8 {
        lsn.checked_sub(1).and_then(|index| self.records().get(usize::from(index))).map_or(0, |record| record.epoch)
    }

    /// The newest epoch in it.
    pub(super) fn epoch(&self) -> u8 {
        self.epoch_of(self.len)
    }

    /// Where an epoch begins, 0 if it has no record.
    pub(super) fn opening_of(&self, epoch: u8) -> u8 {
        self.records().iter().position(|record| record.epoch == epoch).map_or(0, |index| index as u8 + 1)
    }

    /// Up to where two logs agree, as far as nodes can tell: by LSN and epoch.
    pub(super) fn shared_with(&self, other: &Self) -> u8 {
        let both = self.records().iter().zip(other.records());
        both.take_while(|(one, two)| one.epoch == two.epoch).count() as u8
    }

    /// The writes up to an LSN.
    pub(super) fn writes_up_to(&self, lsn: u8) -> Writes {
        let within = self.records().iter().take(usize::from(lsn)).filter(|record| record.write > 0);
        within.fold(0, |set, record| set | 1 << record.write)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_list().entries(self.records().iter().map(|record| (record.epoch, record.write))).finish()
    }
}

/// What a replica's log is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Standing {
    Outside,
    Doubtful(u8),
    Sound(u8),
}

/// What a journal says, read from its beginning to some place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Image {
    pub(super) log: Log,
    pub(super) standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Op {
    Record(Record),
    Truncate(u8),
    Note(Standing),
}

impl Image {
    fn take(&mut self, op: Op) {
        match op {
            Op::Record(record) => self.log.push(record),
            Op::Truncate(len) => self.log.truncate(len),
            Op::Note(standing) => self.standing = standing,
        }
    }
}

/// A journal: what is on disk, what was written since, and how much of that the kernel has.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Journal {
    disk: Image,
    since: Vec<Op>,
    handed: u8,
    memory: Image,
}

impl Journal {
    pub(super) fn new(log: Log, standing: Standing) -> Self {
        let disk = Image { log, standing };
        Self { disk, since: Vec::new(), handed: 0, memory: disk }
    }

    pub(super) fn log(&self) -> &Log {
        &self.memory.log
    }

    pub(super) fn standing(&self) -> Standing {
        self.memory.standing
    }

    fn put(&mut self, op: Op) {
        self.memory.take(op);
        self.since.push(op);
    }

    pub(super) fn push(&mut self, record: Record) {
        self.put(Op::Record(record));
    }

    pub(super) fn truncate(&mut self, len: u8) {
        self.put(Op::Truncate(len));
    }

    pub(super) fn note(&mut self, standing: Standing) {
        self.put(Op::Note(standing));
    }

    /// The kernel has everything.
    pub(super) fn hand(&mut self) {
        self.handed = self.since.len() as u8;
    }

    pub(super) fn has_unhanded(&self) -> bool {
        usize::from(self.handed) < self.since.len()
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.since.is_empty()
    }

    /// The disk has everything.
    pub(super) fn sync(&mut self) {
        (self.disk, self.handed) = (self.memory, 0);
        self.since.clear();
    }

    fn after(&self, ops: usize) -> Image {
        let mut image = self.disk;
        self.since[..ops].iter().for_each(|op| image.take(*op));
        image
    }

    /// Up to where the log is with the kernel.
    pub(super) fn handed(&self) -> u8 {
        self.after(usize::from(self.handed)).log.shared_with(&self.memory.log)
    }

    /// Up to where the log is on disk.
    pub(super) fn synced(&self) -> u8 {
        self.disk.log.shared_with(&self.memory.log)
    }

    /// The process ended: what the kernel has stays.
    pub(super) fn kill(&mut self) {
        self.since.truncate(usize::from(self.handed));
        self.memory = self.after(self.since.len());
    }

    /// How many ways there are to lose power: after each operation that the kernel has.
    pub(super) fn ways_to_cut(&self) -> u8 {
        self.handed + 1
    }

    /// The machine lost its power when so many operations had come to the disk since the last sync.
    pub(super) fn cut(&mut self, ops: u8) {
        self.memory = self.after(usize::from(ops));
        self.sync();
    }
}
