//! One node's part in the agreement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::error::{ClientWriteError, InitializeError, RaftError};
use openraft::{EmptyNode, LogIdOptionExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::forms::Types;
use super::super::id::NodeId;
use super::super::state::{About, Command, Step};
use super::super::storage::{Identity, Machine, Storage, StorageError, View};
use super::caller::{CallError, Caller};
use super::keeper;
use super::message::{Call, MESSAGE_BYTES_MAX, Reply};
use super::network::{Failed, Links, Network};
use super::serve;
use super::timing::{LOOK_AGAIN, PROPOSE_TIMEOUT, Timing};
use super::{Answer, Committed, Consensus, Metrics, ProposeError};

/// Most bytes of a command: with what comes with it, it fits into a message.
const COMMAND_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its file cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// openraft does not start with what is in the file.
    #[error("the cluster configuration does not start: {0}")]
    Raft(String),
    /// Only node 1 founds a cluster.
    #[error("node {0} cannot make a cluster: it joined one")]
    NotFounder(NodeId),
    /// The cluster cannot be made like this.
    #[error(transparent)]
    Founding(#[from] ProposeError),
}

/// A node that takes part. Clones are the same.
#[derive(Clone)]
pub struct Raft(Arc<Inner>);

struct Inner {
    raft: Arc<openraft::Raft<Types>>,
    links: Arc<Links>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Raft {
    /// Starts with what is in the file. A node that joins does nothing until the leader speaks to it.
    ///
    /// # Errors
    /// [`StartError`]; a file that belongs to no node yet is one.
    pub async fn start(storage: Storage, caller: Arc<dyn Caller>, timing: &Timing) -> Result<Self, StartError> {
        let opening = storage.run(|storage| {
            let identity = storage.identity()?;
            Ok((identity, Machine::open(storage.clone())?, storage.step_down(identity.node)?))
        });
        let (identity, machine, has_led) = opening.await?;
        let links = Arc::new(Links::new(identity, machine.watch(), caller));
        let config = timing.config().validate().map_err(|error| StartError::Raft(error.to_string()))?;
        let network = Network(Arc::clone(&links));
        let raft = openraft::Raft::new(identity.node.0, Arc::new(config), network, storage, machine).await;
        let raft = Arc::new(raft.map_err(|error| StartError::Raft(error.to_string()))?);
        if has_led {
            // The others may not have noticed that it was away; and who is alone need not wait.
            raft.trigger().elect().await.map_err(|error| StartError::Raft(error.to_string()))?;
        }
        let keeper = tokio::spawn(keeper::keep(Arc::clone(&raft), links.view.clone()));
        Ok(Self(Arc::new(Inner { raft, links, keeper: Mutex::new(Some(keeper)) })))
    }

    /// Makes the cluster, with this node, on the file it has, as its only member. Does nothing if it is made already, and goes
    /// on if it was begun.
    ///
    /// # Errors
    /// [`StartError::NotFounder`]; what [`Consensus::propose`] says.
    pub async fn found(&self, node: About, now_ms: u64) -> Result<(), StartError> {
        let Identity { cluster, node: id, store } = self.0.links.identity;
        if id != NodeId(1) {
            return Err(StartError::NotFounder(id));
        }
        match self.0.raft.initialize(std::collections::BTreeMap::from([(id.0, EmptyNode {})])).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(StartError::Raft(error.to_string())),
        }
        if self.read().await?.configuration.cluster().is_none() {
            let node = About { store: Some(store), ..node };
            self.propose(Command::Found { cluster, node, now_ms }).await?;
        }
        Ok(())
    }

    /// The answer to a request that `peer` sent; the transport knows that it was this peer. Never longer than
    /// [`MESSAGE_BYTES_MAX`].
    pub async fn handle(&self, peer: NodeId, request: &[u8]) -> Vec<u8> {
        serve::answer(&self.0.raft, &self.0.links, peer, request).await.encode()
    }
}

impl Inner {
    fn own(&self) -> NodeId {
        self.links.identity.node
    }

    fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow().current_leader.map(NodeId)
    }

    fn stopped(&self) -> ProposeError {
        let state = self.raft.metrics().borrow().running_state.clone();
        ProposeError::Stopped(state.err().map_or_else(|| "it is stopping".to_owned(), |error| error.to_string()))
    }

    /// Asks whoever leads, itself included.
    async fn ask(&self, leader: NodeId, call: Call) -> Result<Reply, Failed> {
        if leader != self.own() {
            return self.links.call(leader, call, PROPOSE_TIMEOUT).await;
        }
        Ok(match call {
            Call::Propose(command) => serve::propose(&self.raft, command).await,
            _ => serve::read_index(&self.raft).await,
        })
    }

    /// Goes on until somebody takes the command. `is_given` says whether somebody may have it.
    async fn propose(&self, command: Command, is_given: &AtomicBool) -> Result<Committed, ProposeError> {
        loop {
            self.check_running()?;
            if let Some(leader) = self.leader() {
                is_given.store(true, Ordering::Relaxed);
                match self.ask(leader, Call::Propose(command.clone())).await {
                    Ok(Reply::Proposed { index, result }) => return Ok(Committed { index, outcome: result? }),
                    Ok(Reply::Stopped) => return Err(self.stopped()),
                    Ok(Reply::NotLeader(_)) | Err(Failed::Call(CallError::Unreachable) | Failed::Stopped) => {}
                    Err(Failed::Refused(refusal)) => return Err(ProposeError::Refused(leader, refusal)),
                    Ok(_) | Err(Failed::Call(CallError::Lost) | Failed::Nonsense) => {
                        return Err(ProposeError::Uncertain);
                    }
                }
                is_given.store(false, Ordering::Relaxed);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn read(&self) -> Result<View, ProposeError> {
        loop {
            self.check_running()?;
            if let Some(leader) = self.leader() {
                match self.ask(leader, Call::ReadIndex).await {
                    Ok(Reply::ReadIndex(index)) => return self.applied(index).await,
                    Ok(Reply::Stopped) => return Err(self.stopped()),
                    Err(Failed::Refused(refusal)) => return Err(ProposeError::Refused(leader, refusal)),
                    Ok(_) | Err(_) => {}
                }
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The configuration once everything up to `index` is in it.
    async fn applied(&self, index: u64) -> Result<View, ProposeError> {
        let mut view = self.links.view.clone();
        let view = view.wait_for(|view| view.applied >= index).await;
        view.map(|view| view.clone()).map_err(|_| self.stopped())
    }

    fn check_running(&self) -> Result<(), ProposeError> {
        let is_running = self.raft.metrics().borrow().running_state.is_ok();
        if is_running { Ok(()) } else { Err(self.stopped()) }
    }

    fn metrics(&self) -> Metrics {
        let metrics = self.raft.metrics().borrow().clone();
        let last_log = metrics.last_log_index.unwrap_or(0);
        let lag = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
        let behind = |matched: u64| last_log.saturating_sub(matched);
        Metrics {
            node: self.own(),
            leader: metrics.current_leader.map(NodeId),
            term: metrics.current_term,
            last_log,
            applied: metrics.last_applied.index().unwrap_or(0),
            membership: keeper::membership(metrics.membership_config.membership()),
            lag: lag.map(|(&id, matched)| (NodeId(id), matched.map(|id| behind(id.index)))).collect(),
            last_refusal: self.links.last_refusal(),
            stopped: metrics.running_state.err().map(|error| error.to_string()),
        }
    }

    async fn take(&self, step: Step) -> Result<(), ProposeError> {
        match keeper::make(&self.raft, step).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NoLeader),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                Err(ProposeError::Membership(error.to_string()))
            }
            Err(RaftError::Fatal(_)) => Err(self.stopped()),
        }
    }

    async fn stop(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            keeper.abort();
            // It ends by being aborted; there is nothing else to hear from it.
            keeper.await.ok();
        }
        // What may fail here is only that its task panicked, and then it is stopped as well.
        self.raft.shutdown().await.ok();
    }
}

impl Consensus for Raft {
    fn propose(&self, command: Command) -> Answer<'_, Result<Committed, ProposeError>> {
        Box::pin(async move {
            if command.encoded_bytes() > COMMAND_BYTES_MAX {
                return Err(ProposeError::TooLarge);
            }
            let is_given = AtomicBool::new(false);
            match timeout(PROPOSE_TIMEOUT, self.0.propose(command, &is_given)).await {
                Ok(result) => result,
                Err(_) if is_given.into_inner() => Err(ProposeError::Uncertain),
                Err(_) => Err(ProposeError::NoLeader),
            }
        })
    }

    fn read(&self) -> Answer<'_, Result<View, ProposeError>> {
        Box::pin(async { timeout(PROPOSE_TIMEOUT, self.0.read()).await.unwrap_or(Err(ProposeError::NoLeader)) })
    }

    fn watch(&self) -> watch::Receiver<View> {
        self.0.links.view.clone()
    }

    fn metrics(&self) -> Metrics {
        self.0.metrics()
    }

    fn take(&self, step: Step) -> Answer<'_, Result<(), ProposeError>> {
        Box::pin(async move {
            let taken = timeout(PROPOSE_TIMEOUT, self.0.take(step)).await;
            taken.unwrap_or(Err(ProposeError::Uncertain))
        })
    }

    fn stop(&self) -> Answer<'_, ()> {
        Box::pin(self.0.stop())
    }
}
