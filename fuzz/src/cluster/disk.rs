//! A node's journal and content, as a machine that fails has them: what was asked for, what the kernel has, what is durable.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use lsm_store::rng::SeededRng;
use net::replication::{Body, Epoch, History, Lsn, Record, Standing, Ticket};

/// Blocks of the simulated volume.
pub(super) const BLOCKS: usize = 4;

/// What each block holds; 0 before any write.
pub(super) type Image = [u64; BLOCKS];

/// A write's payload: its block, and a value that no other write has.
pub(super) fn payload(block: usize, value: u64) -> Bytes {
    let mut bytes = vec![block as u8];
    bytes.extend_from_slice(&value.to_le_bytes());
    Bytes::from(bytes)
}

/// The block and value of a record, if it is a write.
pub(super) fn write_of(record: &Record) -> Option<(usize, u64)> {
    let Body::Write(payload) = &record.body else { return None };
    let (block, value) = payload.split_first()?;
    Some((usize::from(*block), u64::from_le_bytes(value.try_into().ok()?)))
}

fn apply(image: &mut Image, record: &Record) {
    if let Some((block, value)) = write_of(record) {
        image[block] = value;
    }
}

/// What a journal and the runs beneath it amount to.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) history: History,
    /// Records that can be read back.
    pub(super) records: BTreeMap<Lsn, Record>,
    /// The runs hold everything up to here.
    pub(super) floor: Lsn,
    /// What the runs hold.
    pub(super) base: Image,
    pub(super) standing: Standing,
    /// Content is being replaced: nothing is to be relied on.
    pub(super) is_torn: bool,
}

impl Log {
    pub(super) fn empty(standing: Standing) -> Self {
        let (history, records) = (History::default(), BTreeMap::new());
        Self { history, records, floor: Lsn(0), base: [0; BLOCKS], standing, is_torn: false }
    }

    pub(super) fn end(&self) -> Lsn {
        self.history.end().lsn
    }

    pub(super) fn journal_start(&self) -> Lsn {
        self.records.first_key_value().map_or(self.floor.next(), |(lsn, _)| *lsn)
    }

    /// What the volume held at an LSN that is not below the runs.
    pub(super) fn image_at(&self, lsn: Lsn) -> Image {
        let mut image = self.base;
        self.records
            .range(self.floor.next()..lsn.max(self.floor).next())
            .for_each(|(_, record)| apply(&mut image, record));
        image
    }

    fn carry_out(&mut self, op: &Op) {
        match op {
            Op::Records(first, records) => {
                for (index, record) in records.iter().enumerate() {
                    self.history.extend(record.epoch, 1);
                    self.records.insert(Lsn(first.0 + index as u64), record.clone());
                }
            }
            Op::Truncate(beyond) => {
                self.history.truncate(*beyond);
                self.records.retain(|lsn, _| lsn <= beyond);
            }
            Op::Note(standing) => self.standing = *standing,
        }
    }

    /// Moves the runs up to `lsn`.
    fn flush(&mut self, lsn: Lsn) {
        self.base = self.image_at(lsn);
        self.floor = lsn;
    }
}

/// A change asked of the journal.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Records(Lsn, Vec<Record>),
    Truncate(Lsn),
    Note(Standing),
}

/// A node's disk, with the kernel's memory before it.
#[derive(Debug)]
pub(super) struct Disk {
    /// With everything that was asked for.
    pub(super) live: Log,
    /// With everything that was synced.
    pub(super) durable: Log,
    pending: VecDeque<(Ticket, Op)>,
    /// How many of those pending the kernel has.
    handed: usize,
    /// A power cut took what was not synced, and no standing has been noted since.
    pub(super) was_cut: bool,
}

impl Disk {
    pub(super) fn new(standing: Standing) -> Self {
        let log = Log::empty(standing);
        Self { live: log.clone(), durable: log, pending: VecDeque::new(), handed: 0, was_cut: false }
    }

    pub(super) fn ask(&mut self, ticket: Ticket, op: Op) {
        self.live.carry_out(&op);
        self.pending.push_back((ticket, op));
    }

    pub(super) fn hand(&mut self, ticket: Ticket) {
        while let Some((asked, op)) = self.pending.get(self.handed)
            && *asked <= ticket
        {
            self.was_cut &= !matches!(op, Op::Note(_));
            self.handed += 1;
        }
    }

    pub(super) fn sync(&mut self, ticket: Ticket) {
        self.hand(ticket);
        while let Some((asked, _)) = self.pending.front()
            && *asked <= ticket
        {
            let (_, op) = self.pending.pop_front().expect("there is a first");
            self.durable.carry_out(&op);
            self.handed -= 1;
        }
    }

    /// The process dies: what the kernel has stays.
    pub(super) fn kill(&mut self) {
        self.pending.truncate(self.handed);
        self.live = self.durable.clone();
        self.pending.iter().for_each(|(_, op)| self.live.carry_out(op));
        // A restarted process counts its tickets anew.
        self.pending.iter_mut().for_each(|(ticket, _)| *ticket = Ticket(0));
    }

    /// The machine dies: of what was not synced any beginning stays, the rest is torn or was never written.
    pub(super) fn cut_power(&mut self, rng: &SeededRng) {
        let kept = rng.below(self.handed as u64 + 1) as usize;
        self.pending.drain(..kept).for_each(|(_, op)| self.durable.carry_out(&op));
        self.pending.clear();
        self.handed = 0;
        self.live = self.durable.clone();
        self.was_cut = true;
    }

    /// Up to where the log is durable.
    pub(super) fn synced(&self) -> Lsn {
        self.durable.history.shared_with(&self.live.history).lsn.max(self.live.floor)
    }

    /// A flush job: the runs take everything up to `lsn`, which is synced.
    pub(super) fn flush(&mut self, lsn: Lsn) {
        self.live.flush(lsn);
        self.durable.flush(lsn);
    }

    /// The journal forgets what is before `first` and in the runs.
    pub(super) fn trim(&mut self, first: Lsn) {
        let first = first.min(self.live.floor.next());
        self.live.records = self.live.records.split_off(&first);
        self.durable.records = self.durable.records.split_off(&first);
    }

    /// From here on the content is a mixture, until all of it has come.
    pub(super) fn tear(&mut self) {
        self.live.is_torn = true;
        self.durable.is_torn = true;
    }

    /// Content and log are replaced, durably.
    pub(super) fn install(&mut self, history: History, image: Image) {
        let standing = self.live.standing;
        let floor = history.end().lsn;
        let log = Log { history, records: BTreeMap::new(), floor, base: image, standing, is_torn: false };
        *self = Self { durable: log.clone(), live: log, pending: VecDeque::new(), handed: 0, was_cut: self.was_cut };
    }

    /// What a process that starts finds.
    pub(super) fn settle(&mut self) {
        if self.live.is_torn {
            let torn = Log { is_torn: true, ..Log::empty(Standing::Outside) };
            *self = Self { live: torn.clone(), durable: torn, was_cut: self.was_cut, ..Self::new(Standing::Outside) };
        }
    }

    /// The epoch of its newest record.
    pub(super) fn epoch(&self) -> Epoch {
        self.live.history.end().epoch
    }
}
