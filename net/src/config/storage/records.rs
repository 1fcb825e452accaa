//! What openraft wants kept, as records of the file. Everything blocks.

use redb::{Durability, ReadableDatabase, ReadableTable, WriteTransaction};

use super::super::forms::{Entry, EntryV1, LogId, LogIdV1, Meta, MetaV1, Vote, VoteV1};
use super::super::id::NodeId;
use super::super::record::{self, InvalidRecord, Kind, Place};
use super::error::StorageError;
use super::file::{LOG, RECORDS, Storage};

/// A record that there is one of: its key, its kind, and what it is in messages.
struct Slot {
    key: &'static str,
    kind: Kind,
    what: &'static str,
}

const VOTE: Slot = Slot { key: "vote", kind: Kind(*b"cVot"), what: "vote" };
const COMMITTED: Slot = Slot { key: "committed", kind: Kind(*b"cCom"), what: "record of what is committed" };
const PURGED: Slot = Slot { key: "purged", kind: Kind(*b"cPur"), what: "record of what is purged" };
const SNAPSHOT: Slot = Slot { key: "snapshot", kind: Kind(*b"cSnp"), what: "snapshot" };
const ENTRY: Kind = Kind(*b"cEnt");

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct SnapshotV1 {
    meta: MetaV1,
    configuration: Vec<u8>,
}

impl Slot {
    fn invalid(&self, why: InvalidRecord) -> StorageError {
        StorageError::record(self.what, why)
    }
}

impl Storage {
    pub(super) fn vote(&self) -> Result<Option<Vote>, StorageError> {
        let Some(record) = self.record(&VOTE)? else { return Ok(None) };
        let vote: VoteV1 = record::decode(VOTE.kind, self.place(0), &record).map_err(|why| VOTE.invalid(why))?;
        Ok(Some(vote.into()))
    }

    pub(super) fn save_vote(&self, vote: Vote) -> Result<(), StorageError> {
        let record = record::encode(VOTE.kind, self.place(0), &VoteV1::from(vote));
        self.write(|transaction| put(transaction, &VOTE, &record))
    }

    /// Makes a node that led when it stopped stand for election again. openraft would lead on in the old term, and then answer
    /// reads without what was committed last: it does not know of that, and nothing in the new life makes it find out. To
    /// have voted for itself and not won is less than to have won, so nobody is promised anything that does not hold.
    pub(in super::super) fn step_down(&self, node: NodeId) -> Result<bool, StorageError> {
        match self.vote()? {
            Some(vote) if vote.committed && vote.leader_id.node_id == node.0 => {
                self.save_vote(Vote { committed: false, ..vote })?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn committed(&self) -> Result<Option<LogId>, StorageError> {
        self.log_id(&COMMITTED)
    }

    /// Not durable by itself: it becomes so with whatever is written next, and only saves a node that starts from waiting for
    /// its leader.
    pub(super) fn save_committed(&self, id: LogId) -> Result<(), StorageError> {
        let record = record::encode(COMMITTED.kind, self.place(0), &LogIdV1::from(id));
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        put(&transaction, &COMMITTED, &record)?;
        transaction.commit()?;
        Ok(())
    }

    pub(super) fn purged(&self) -> Result<Option<LogId>, StorageError> {
        self.log_id(&PURGED)
    }

    pub(super) fn last_entry(&self) -> Result<Option<Entry>, StorageError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(LOG)?;
        let Some((index, record)) = table.last()? else { return Ok(None) };
        self.decode_entry(index.value(), record.value()).map(Some)
    }

    /// Whether anything was ever agreed on in this file.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_begun(&self) -> Result<bool, StorageError> {
        Ok(self.purged()?.is_some() || self.last_entry()?.is_some())
    }

    /// Entries from `start` to before `end`; at least one if there is one, then no more than fit in `bytes_max`.
    pub(super) fn entries(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        if start >= end {
            return Ok(entries);
        }
        let read = self.database.begin_read()?;
        for item in read.open_table(LOG)?.range(start..end)? {
            let (index, record) = item?;
            bytes += record.value().len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(self.decode_entry(index.value(), record.value())?);
        }
        Ok(entries)
    }

    fn decode_entry(&self, index: u64, record: &[u8]) -> Result<Entry, StorageError> {
        let entry = record::decode::<EntryV1>(ENTRY, self.place(index), record).map(Entry::from);
        let is_right = |entry: &Entry| entry.log_id.index == index;
        let entry = entry.and_then(|entry| if is_right(&entry) { Ok(entry) } else { Err(InvalidRecord::Damaged) });
        entry.map_err(|why| StorageError::record("log", why))
    }

    pub(super) fn append(&self, entries: Vec<Entry>) -> Result<(), StorageError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(LOG)?;
            for entry in entries {
                let index = entry.log_id.index;
                let record = record::encode(ENTRY, self.place(index), &EntryV1::from(entry));
                table.insert(index, record.as_slice())?;
            }
            Ok(())
        })
    }

    /// Takes away the entries from `index` on.
    pub(super) fn truncate(&self, index: u64) -> Result<(), StorageError> {
        self.write(|transaction| {
            transaction.open_table(LOG)?.retain_in(index.., |_, _| false)?;
            Ok(())
        })
    }

    /// Takes away the entries up to `id`, which a snapshot holds.
    pub(super) fn purge(&self, id: LogId) -> Result<(), StorageError> {
        let record = record::encode(PURGED.kind, self.place(0), &LogIdV1::from(id));
        self.write(|transaction| {
            transaction.open_table(LOG)?.retain_in(..=id.index, |_, _| false)?;
            put(transaction, &PURGED, &record)
        })
    }

    /// The last snapshot: what it is of, and the encoded configuration.
    pub(super) fn snapshot(&self) -> Result<Option<(Meta, Vec<u8>)>, StorageError> {
        let Some(record) = self.record(&SNAPSHOT)? else { return Ok(None) };
        let snapshot = self.decode_snapshot(&record)?;
        Ok(Some((snapshot.meta.into(), snapshot.configuration)))
    }

    /// Keeps a snapshot unless there is a newer one: building one may end after another was installed.
    pub(super) fn save_snapshot(&self, meta: &Meta, configuration: Vec<u8>) -> Result<(), StorageError> {
        let snapshot = SnapshotV1 { meta: meta.into(), configuration };
        let record = record::encode(SNAPSHOT.kind, self.place(0), &snapshot);
        self.write(|transaction| {
            let found = transaction.open_table(RECORDS)?.get(SNAPSHOT.key)?.map(|record| record.value().to_vec());
            let found = found.map(|record| self.decode_snapshot(&record)).transpose()?;
            let is_older = |found: SnapshotV1| Meta::from(found.meta).last_log_id <= meta.last_log_id;
            if found.is_none_or(is_older) { put(transaction, &SNAPSHOT, &record) } else { Ok(()) }
        })
    }

    fn decode_snapshot(&self, record: &[u8]) -> Result<SnapshotV1, StorageError> {
        record::decode(SNAPSHOT.kind, self.place(0), record).map_err(|why| SNAPSHOT.invalid(why))
    }

    fn log_id(&self, slot: &Slot) -> Result<Option<LogId>, StorageError> {
        let Some(record) = self.record(slot)? else { return Ok(None) };
        let id: LogIdV1 = record::decode(slot.kind, self.place(0), &record).map_err(|why| slot.invalid(why))?;
        Ok(Some(id.into()))
    }

    fn record(&self, slot: &Slot) -> Result<Option<Vec<u8>>, StorageError> {
        let read = self.database.begin_read()?;
        Ok(read.open_table(RECORDS)?.get(slot.key)?.map(|record| record.value().to_vec()))
    }

    /// Where record `number` of this file is: the index of a log entry, else 0.
    fn place(&self, number: u64) -> Place {
        Place { scope: self.store().0, number }
    }
}

fn put(transaction: &WriteTransaction, slot: &Slot, record: &[u8]) -> Result<(), StorageError> {
    transaction.open_table(RECORDS)?.insert(slot.key, record)?;
    Ok(())
}
