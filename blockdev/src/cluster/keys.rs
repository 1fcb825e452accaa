//! The node's key and certificate, which are renewed in time, and the authority's key, which every member has
//! (`docs/decisions/2026-11-26-keys-of-nodes.md`). Another authority takes its place in `rotation`.
//!
//! Invariant: a key that this node shows is the one that the cluster knows of, or there is a file with the other one. Which of the
//! two it is, is found out by trying if the node stopped while it was being changed.

mod rotation;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use net::config::raft::{Consensus, ProposeError};
use net::config::state::{Command, Configuration, NodeState, Rejection};
use net::config::tokens::ConfiguredTokens;
use net::envelope::{Kind, Message};
use net::environment::{Clock, SystemRng};
use net::id::NodeId;
use net::identity::{
    Authority, Credentials, Directory, Error, NEXT_AUTHORITY, NodeKey, PublicKey, ask_authority, hand_authority,
    take_authority,
};
use net::join::Admission;
use net::transport::quic::QuicTransport;
use net::transport::{Link, Transport, call};
use parking_lot::Mutex;

use super::core::Core;
use crate::events::kind;
pub(super) use rotation::trust_stored;

/// Between two looks, unless something changes.
const LOOK: Duration = Duration::from_secs(1);

/// How long what was agreed on a moment ago counts as what is agreed on now.
const CURRENT: Duration = Duration::from_secs(10);

/// Between two attempts to have the cluster know of a key. There are weeks for it.
const AGAIN: Duration = Duration::from_secs(60);

/// How long a key is shown to others before the other one is.
const SHOWN: Duration = Duration::from_secs(3);

/// How long a node may take to hand the authority over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What other threads ask of the keys.
pub(super) struct Keys {
    core: Weak<Core>,
    transport: Arc<QuicTransport>,
    clock: Arc<dyn Clock>,
    folder: Directory,
    /// The one that has signed this node's certificate.
    authority: Mutex<Option<Arc<Authority>>>,
    /// The one that is to take its place, as in its file.
    next_authority: Mutex<Option<Arc<Authority>>>,
    /// When this node may last have offered one to the cluster, by the monotonic clock. Held while the file is changed.
    offered: Mutex<Duration>,
    /// Whether this node knows of all keys that the others have now.
    is_current: Mutex<bool>,
}

/// What the thread that keeps them has.
pub(super) struct Renewal {
    keys: Arc<Keys>,
    credentials: Credentials,
    /// To take their place as soon as the cluster knows of the key.
    next: Option<Credentials>,
    /// Handshakes are made with `next`, to see whether the cluster knows of that already.
    is_next_shown: bool,
    /// The authority of the certificates before these, as long as others may show some of it.
    former_authority: Option<Vec<u8>>,
    /// What handshakes trust besides the authority in force.
    trusted: Vec<Vec<u8>>,
    due: Due,
}

/// When something is to be done next, by the monotonic clock.
#[derive(Default)]
struct Due {
    renew: Duration,
    obtain: Duration,
    show: Duration,
    rotate: Duration,
}

impl Keys {
    pub(super) fn new(
        core: &Arc<Core>,
        transport: Arc<QuicTransport>,
        clock: Arc<dyn Clock>,
        folder: Directory,
    ) -> Result<Self, Error> {
        Ok(Self {
            core: Arc::downgrade(core),
            transport,
            clock,
            authority: Mutex::default(),
            next_authority: Mutex::new(Authority::load_next(&folder)?.map(Arc::new)),
            offered: Mutex::new(core.node.store().clock().monotonic()),
            folder,
            is_current: Mutex::new(false),
        })
    }

    /// The authority, once this node has it.
    pub(super) fn authority(&self) -> Option<Arc<Authority>> {
        self.authority.lock().clone()
    }

    /// From now on this node signs for nodes that join, with the authority that has signed its own certificate.
    fn set_authority(&self, own: &Credentials) -> Result<bool, Error> {
        let load = || Authority::load_of(&self.folder, own);
        let (Some(authority), Some(for_joining)) = (load()?, load()?) else { return Ok(false) };
        let Some(core) = self.core.upgrade() else { return Ok(false) };
        let consensus: Arc<dyn Consensus> = Arc::new(core.consensus().clone());
        let tokens = Arc::new(ConfiguredTokens::new(consensus, core.runtime.clone()));
        let admission = Admission::new(for_joining, tokens, Arc::clone(&self.clock), Arc::new(SystemRng));
        self.transport.admit_by(Some(Arc::new(admission)));
        *self.authority.lock() = Some(Arc::new(authority));
        Ok(true)
    }

    /// Ends all sessions, and takes no more.
    pub(super) fn stop_speaking(&self) {
        self.transport.stop();
    }

    /// Answers a node that asks for the authority, or for the next. Only members get it, and only from a node that knows the keys of all:
    /// another one may be talking to somebody who has no more than the authority's key.
    pub(super) fn answer(&self, configuration: &Configuration, link: Link, question: Kind) -> Message {
        let may_have = |state| matches!(state, NodeState::Member | NodeState::Draining);
        let is_member = configuration.node(link.peer).is_some_and(|node| may_have(node.state));
        // In this order: whoever was found to have a wrong key was told to end before this node counted as current.
        let is_known = *self.is_current.lock() && self.transport.is_open(link);
        let asked = if question == NEXT_AUTHORITY { self.next_authority() } else { self.authority() };
        hand_authority(asked.filter(|_| is_member && is_known).as_deref())
    }

    /// The cluster has agreed on something, perhaps on other keys.
    pub(super) fn follow(&self, core: &Core) {
        let is_current = self.is_current.lock();
        self.pin(core, *is_current);
    }

    /// Finds out, again and again, whether this node knows of all keys that there are.
    pub(super) async fn learn(keys: Weak<Self>) {
        loop {
            let Some(here) = keys.upgrade() else { return };
            let Some(core) = here.core.upgrade() else { return };
            let is_current = core.consensus().read().await.is_ok();
            here.set_current(&core, is_current);
            drop((here, core));
            tokio::time::sleep(if is_current { CURRENT } else { LOOK }).await;
        }
    }

    fn set_current(&self, core: &Core, is_current: bool) {
        let mut current = self.is_current.lock();
        *current = is_current;
        self.pin(core, is_current);
    }

    /// Called under the lock, so that no older keys come behind newer ones.
    fn pin(&self, core: &Core, is_current: bool) {
        let configuration = core.configuration();
        let present = configuration.nodes().filter(|node| node.is_present());
        let keys: BTreeMap<NodeId, PublicKey> = present.map(|node| (node.id, node.about.key)).collect();
        self.transport.pin_keys(is_current.then_some(keys));
    }
}

impl Renewal {
    /// Loads the authority if this node has it, and what an interrupted renewal has left.
    pub(super) fn new(keys: Arc<Keys>, credentials: Credentials) -> Result<Self, Error> {
        keys.set_authority(&credentials)?;
        let own = credentials.public_key()?;
        let next = match Credentials::load_next(&keys.folder)? {
            Some(next) if next.public_key()? != own => Some(next),
            _ => None,
        };
        let former_authority = Credentials::load_former_authority(&keys.folder)?;
        let (trusted, due) = (Vec::new(), Due::default());
        Ok(Self { keys, credentials, next, is_next_shown: false, former_authority, trusted, due })
    }

    /// Works until the node stops.
    pub(super) fn keep(mut self) {
        while let Some(core) = self.keys.core.upgrade().filter(|core| !core.is_stopping()) {
            self.look(&core);
            core.wait_change(LOOK);
        }
    }

    fn look(&mut self, core: &Core) {
        let now = core.node.store().clock().monotonic();
        if now >= self.due.rotate {
            self.due.rotate = now + LOOK;
            if let Err(error) = self.rotate(core) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "this node cannot take up the cluster's next authority");
                self.due.rotate = now + AGAIN;
            }
        }
        if now >= self.due.renew {
            self.due.renew = now + LOOK;
            if let Err(error) = self.renew(core) {
                tracing::error!(error = &error as &dyn std::error::Error, "this node's certificate cannot be renewed");
                self.due.renew = now + AGAIN;
            }
        }
        if now >= self.due.obtain && self.keys.authority().is_none() {
            self.due.obtain = now + LOOK;
            self.obtain(core);
        }
        if now >= self.due.show && self.next.is_some() && !*self.keys.is_current.lock() {
            self.due.show = now + SHOWN;
            self.show_other();
        }
    }

    /// Asks the others for the authority.
    fn obtain(&self, core: &Core) {
        let configuration = core.configuration();
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != core.me);
        for link in others.filter_map(|node| self.keys.transport.link(node.id)) {
            let Ok(answer) = call(&*self.keys.transport, link, ask_authority(), PATIENCE) else { continue };
            match self.take(&answer) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(from = %link.peer, "this node has the cluster's key now");
                    return;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(from = %link.peer, error, "the cluster's key cannot be taken from this node");
                }
            }
        }
    }

    fn take(&self, answer: &Message) -> Result<bool, Error> {
        let own = self.credentials.authority_certificate();
        let Some(authority) = take_authority(answer, own)? else { return Ok(false) };
        authority.store_in_force(&self.keys.folder)?;
        self.keys.set_authority(&self.credentials)
    }

    /// Sees to it that the certificate holds, and that the key does not get too old.
    fn renew(&mut self, core: &Core) -> Result<(), Error> {
        let Some(authority) = self.keys.authority() else { return Ok(()) };
        let now = self.keys.clock.wall();
        if !self.credentials.is_valid(now) {
            // The key is the one that the cluster knows of: nobody has to agree.
            let reissued = self.credentials.reissued(&authority, now, &SystemRng)?;
            self.adopt(core, reissued)?;
        }
        if let Some(next) = self.next.clone() {
            if next.is_valid(now) && self.is_of_own_authority(&next) {
                return self.settle(core, next);
            }
            // It was made long ago. The cluster may know of its key all the same, so that it must not be lost.
            let reissued = next.reissued(&authority, now, &SystemRng)?;
            reissued.store_next(&self.keys.folder)?;
            self.next = Some(reissued.clone());
            return self.settle(core, reissued);
        }
        if now >= self.credentials.renew_at() {
            let key = NodeKey::generate()?;
            let issued = authority.issue(core.me, key.public(), now, &SystemRng)?;
            let next = key.with_certificate(issued, now)?;
            next.store_next(&self.keys.folder)?;
            self.next = Some(next.clone());
            return self.settle(core, next);
        }
        Ok(())
    }

    /// Has the cluster know of the next key, and takes it then.
    fn settle(&mut self, core: &Core, next: Credentials) -> Result<(), Error> {
        let key = next.public_key()?;
        let is_known = core.configuration().node(core.me).is_some_and(|node| node.about.key == key);
        if is_known {
            return self.take_next(core, next);
        }
        if !*self.keys.is_current.lock() {
            return Ok(());
        }
        match core.propose(Command::RenewKey { node: core.me, key }) {
            Ok(_) => self.take_next(core, next),
            Err(ProposeError::Rejected(Rejection::KeyKnown(node))) if node == core.me => self.take_next(core, next),
            Err(error) => {
                tracing::warn!(%error, "the cluster does not know of this node's next key yet");
                self.due.renew = core.node.store().clock().monotonic() + AGAIN;
                Ok(())
            }
        }
    }

    fn take_next(&mut self, core: &Core, next: Credentials) -> Result<(), Error> {
        self.adopt(core, next)?;
        self.next = None;
        Ok(())
    }

    /// From now on these count.
    fn adopt(&mut self, core: &Core, credentials: Credentials) -> Result<(), Error> {
        credentials.store_renewed(&self.keys.folder)?;
        self.keys.transport.renew(&credentials)?;
        let left = credentials.expires().saturating_sub(self.keys.clock.wall());
        let text = format!("this node's certificate was renewed and is good for {} days", left.as_secs() / 86_400);
        core.node.events().note(kind::CERTIFICATE_RENEWED, "", &text);
        (self.credentials, self.is_next_shown) = (credentials, false);
        Ok(())
    }

    /// Without a majority, this node's next key may be the one that the others know of: it stopped before it heard so.
    fn show_other(&mut self) {
        let Some(next) = self.next.as_ref().filter(|next| self.is_of_own_authority(next)) else { return };
        let shown = if self.is_next_shown { &self.credentials } else { next };
        match self.keys.transport.renew(shown) {
            Ok(()) => self.is_next_shown = !self.is_next_shown,
            Err(error) => tracing::error!(%error, "the node's next key cannot be tried"),
        }
    }
}
