//! The state machine as openraft wants it: the configuration in memory, its last snapshot in the file. Who watches sees each
//! state once it is applied.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};
use tokio::sync::watch;

use super::super::forms::{Entry, LogId, Meta, StoredMembers, Types};
use super::super::state::{Configuration, Outcome, Rejection};
use super::error::StorageError;
use super::file::Storage;

type Failure = openraft::StorageError<u64>;

/// The configuration as of one point of the log.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What was applied last; 0 before anything was. It only grows.
    pub applied: u64,
    /// The configuration.
    pub configuration: Arc<Configuration>,
}

/// The state machine of one node.
pub(in super::super) struct Machine {
    storage: Storage,
    state: State,
    watchers: watch::Sender<View>,
}

/// What a snapshot is made of.
#[derive(Clone, Default)]
struct State {
    last: Option<LogId>,
    members: StoredMembers,
    configuration: Arc<Configuration>,
}

impl Machine {
    /// The state machine as of the last snapshot. Blocks.
    pub(in super::super) fn open(storage: Storage) -> Result<Self, StorageError> {
        let state = match storage.snapshot()? {
            Some((meta, configuration)) => State::restore(&meta, &configuration)?,
            None => State::default(),
        };
        Ok(Self { storage, watchers: watch::Sender::new(state.view()), state })
    }

    /// Sees each state that is applied from now on, and the one there is.
    pub(in super::super) fn watch(&self) -> watch::Receiver<View> {
        self.watchers.subscribe()
    }

    fn apply_entry(&mut self, entry: Entry) -> Result<Outcome, Rejection> {
        self.state.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Outcome::Done),
            EntryPayload::Normal(command) => Arc::make_mut(&mut self.state.configuration).apply(&command),
            EntryPayload::Membership(members) => {
                self.state.members = StoredMembers::new(Some(entry.log_id), members);
                Ok(Outcome::Done)
            }
        }
    }
}

impl State {
    fn restore(meta: &Meta, configuration: &[u8]) -> Result<Self, StorageError> {
        let configuration =
            Configuration::decode(configuration).map_err(|why| StorageError::record("snapshot", why))?;
        Ok(Self {
            last: meta.last_log_id,
            members: meta.last_membership.clone(),
            configuration: Arc::new(configuration),
        })
    }

    fn view(&self) -> View {
        View { applied: self.last.map_or(0, |id| id.index), configuration: Arc::clone(&self.configuration) }
    }

    fn meta(&self) -> Meta {
        let id = self.last.map_or_else(|| "empty".to_owned(), |id| format!("{}-{}", id.leader_id, id.index));
        Meta { last_log_id: self.last, last_membership: self.members.clone(), snapshot_id: id }
    }
}

fn reading(error: StorageError) -> Failure {
    openraft::StorageIOError::read_snapshot(None, AnyError::new(&error)).into()
}

fn writing(error: StorageError) -> Failure {
    openraft::StorageIOError::write_snapshot(None, AnyError::new(&error)).into()
}

/// Builds a snapshot of one state, while others may be applied already.
pub(in super::super) struct Builder {
    storage: Storage,
    state: State,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let (meta, state) = (self.state.meta(), self.state.clone());
        let kept = meta.clone();
        let built = self.storage.run(move |storage| {
            let configuration = state.configuration.encode();
            storage.save_snapshot(&kept, configuration.clone())?;
            Ok(configuration)
        });
        let snapshot = Box::new(Cursor::new(built.await.map_err(writing)?));
        Ok(Snapshot { meta, snapshot })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), Failure> {
        Ok((self.state.last, self.state.members.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Result<Outcome, Rejection>>, Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let outcomes = entries.into_iter().map(|entry| self.apply_entry(entry)).collect();
        self.watchers.send_replace(self.state.view());
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { storage: self.storage.clone(), state: self.state.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), Failure> {
        let meta = meta.clone();
        let installed = self.storage.run(move |storage| {
            let configuration = snapshot.into_inner();
            let state = State::restore(&meta, &configuration)?;
            storage.save_snapshot(&meta, configuration)?;
            Ok(state)
        });
        self.state = installed.await.map_err(writing)?;
        self.watchers.send_replace(self.state.view());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let kept = self.storage.run(Storage::snapshot).await.map_err(reading)?;
        let snapshot = |(meta, configuration)| Snapshot { meta, snapshot: Box::new(Cursor::new(configuration)) };
        Ok(kept.map(snapshot))
    }
}
