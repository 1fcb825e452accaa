//! The log as openraft wants it. Each call runs on a thread that may block and is awaited before the next one, so writes
//! keep their order; an entry is acknowledged once it is durable.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, OptionalSend, RaftLogReader};

use super::super::forms::{Entry, LogId, Types, Vote};
use super::error::StorageError;
use super::file::Storage;

type Failure = openraft::StorageError<u64>;

/// Most bytes of entries in one message to a peer, unless a single one is larger.
const BATCH_BYTES_MAX: usize = 1 << 20;

impl Storage {
    /// Runs `work` on a thread that may block.
    pub(in super::super) async fn run<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, StorageError> + Send + 'static,
    {
        let storage = self.clone();
        tokio::task::spawn_blocking(move || work(&storage)).await.map_err(|_| StorageError::Stopping)?
    }
}

fn reading(error: StorageError) -> Failure {
    openraft::StorageIOError::read_logs(AnyError::new(&error)).into()
}

fn writing(error: StorageError) -> Failure {
    openraft::StorageIOError::write_logs(AnyError::new(&error)).into()
}

impl RaftLogReader<Types> for Storage {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, Failure>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        self.run(move |storage| storage.entries(start, end, usize::MAX)).await.map_err(reading)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, Failure> {
        self.run(move |storage| storage.entries(start, end, BATCH_BYTES_MAX)).await.map_err(reading)
    }
}

impl RaftLogStorage<Types> for Storage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Failure> {
        let state = self.run(|storage| {
            let purged = storage.purged()?;
            let last = storage.last_entry()?.map(|entry| entry.log_id);
            Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
        });
        state.await.map_err(reading)
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), Failure> {
        let vote = *vote;
        let saved = self.run(move |storage| storage.save_vote(vote)).await;
        saved.map_err(|error| openraft::StorageIOError::write_vote(AnyError::new(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, Failure> {
        let vote = self.run(Self::vote).await;
        vote.map_err(|error| openraft::StorageIOError::read_vote(AnyError::new(&error)).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), Failure> {
        let Some(committed) = committed else { return Ok(()) };
        self.run(move |storage| storage.save_committed(committed)).await.map_err(writing)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, Failure> {
        self.run(Self::committed).await.map_err(reading)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        match self.run(move |storage| storage.append(entries)).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                callback.log_io_completed(Err(io::Error::other(error.to_string())));
                Err(writing(error))
            }
        }
    }

    async fn truncate(&mut self, from: LogId) -> Result<(), Failure> {
        self.run(move |storage| storage.truncate(from.index)).await.map_err(writing)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), Failure> {
        self.run(move |storage| storage.purge(upto)).await.map_err(writing)
    }
}
