//! This node's part in a change of the cluster's authority (`docs/decisions/2026-11-28-another-authority.md`).
//!
//! Each step is on this node's disk before the cluster hears that it is taken, and is found there after a crash. What the files
//! say is trusted until this node knows what the cluster has agreed on: the others may have gone on meanwhile.

use std::sync::Arc;
use std::time::Duration;

use net::config::raft::ProposeError;
use net::config::state::{Command, Configuration, Rejection, Rotation, RotationStage};
use net::environment::SystemRng;
use net::identity::{Authority, ClusterId, Credentials, Directory, Error, ask_next_authority, take_authority};
use net::transport::quic::QuicTransport;
use net::transport::{Transport, call};

use super::super::core::Core;
use super::{AGAIN, Keys, PATIENCE, Renewal};

/// Between two attempts to tell the cluster that a step is taken.
const CONFIRM_AGAIN: Duration = Duration::from_secs(5);

/// From now on handshakes trust what the files of a node say, besides the authority of its certificate.
pub(in super::super) fn trust_stored(transport: &QuicTransport, folder: &Directory) -> Result<(), Error> {
    let next = Authority::load_next(folder)?.map(|next| next.certificate().to_vec());
    transport.trust(Credentials::load_former_authority(folder)?.into_iter().chain(next).collect());
    Ok(())
}

impl Keys {
    /// The authority that is to take the place of the one in force, if this node has it.
    pub(super) fn next_authority(&self) -> Option<Arc<Authority>> {
        self.next_authority.lock().clone()
    }

    /// Makes another authority, for the cluster to take up; `None` if it is taking one up already. Gives its certificate.
    pub(in super::super) fn draw_next_authority(
        &self,
        core: &Core,
        cluster: ClusterId,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut offered = self.offered.lock();
        if core.configuration().rotation().is_some() {
            return Ok(None);
        }
        let now = core.node.store().clock().monotonic();
        let is_in_force = |next: &Authority| self.authority().is_some_and(|it| it.certificate() == next.certificate());
        if let Some(next) = self.next_authority().filter(|next| now < *offered + AGAIN && !is_in_force(next)) {
            // Somebody else asks for it at this node at the same time: there is one file for its key.
            return Ok(Some(next.certificate().to_vec()));
        }
        *offered = now;
        // The last change may have ended without this node's having put its files in order.
        if let Some(authority) = self.authority() {
            authority.store_in_force(&self.folder)?;
        }
        let next = Authority::draw(cluster, &SystemRng)?;
        let certificate = next.certificate().to_vec();
        self.keep_next(next)?;
        Ok(Some(certificate))
    }

    /// Called with `offered` held.
    fn keep_next(&self, next: Authority) -> Result<(), Error> {
        next.store_next(&self.folder)?;
        *self.next_authority.lock() = Some(Arc::new(next));
        Ok(())
    }

    /// Called with `offered` held.
    fn forget_next(&self) -> Result<(), Error> {
        *self.next_authority.lock() = None;
        Authority::forget_next(&self.folder)
    }
}

impl Renewal {
    /// Takes the step that the cluster has come to, and tells it so.
    pub(super) fn rotate(&mut self, core: &Core) -> Result<(), Error> {
        let configuration = core.configuration();
        if configuration.authority() == Some(self.credentials.authority_certificate()) {
            self.end_rotation()?;
        }
        self.trust(&configuration);
        let Some(rotation) = configuration.rotation() else { return self.give_up_next(core) };
        let is_taken = match rotation.stage {
            RotationStage::Trusting => self.next_of(core, rotation)?.is_some(),
            RotationStage::Showing => self.shows(core, &configuration, rotation)?,
        };
        if is_taken && configuration.awaited().any(|node| node == core.me) {
            self.confirm(core, rotation);
        }
        Ok(())
    }

    /// True if these are of the authority that has signed the certificate in use.
    pub(super) fn is_of_own_authority(&self, credentials: &Credentials) -> bool {
        credentials.authority_certificate() == self.credentials.authority_certificate()
    }

    /// Has handshakes trust the authorities that others may show certificates of.
    fn trust(&mut self, configuration: &Configuration) {
        let is_current = *self.keys.is_current.lock();
        let next = self.keys.next_authority().filter(|_| !is_current).map(|next| next.certificate().to_vec());
        let rotating = configuration.rotation().map(|rotation| rotation.certificate.clone());
        let trusted: Vec<_> = [self.former_authority.clone(), rotating, next].into_iter().flatten().collect();
        if trusted != self.trusted {
            self.keys.transport.trust(trusted.clone());
            self.trusted = trusted;
        }
    }

    /// The new authority with its key, which another node hands over if this one does not have it; `None` if none does.
    fn next_of(&self, core: &Core, rotation: &Rotation) -> Result<Option<Arc<Authority>>, Error> {
        let is_it = |next: &Arc<Authority>| next.certificate() == rotation.certificate;
        if let Some(next) = self.keys.next_authority().filter(is_it) {
            return Ok(Some(next));
        }
        let configuration = core.configuration();
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != core.me);
        for link in others.filter_map(|node| self.keys.transport.link(node.id)) {
            let Ok(answer) = call(&*self.keys.transport, link, ask_next_authority(), PATIENCE) else { continue };
            match take_authority(&answer, &rotation.certificate) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    let _offered = self.keys.offered.lock();
                    // Else this node may have one to offer itself by now.
                    if core.configuration().rotation().is_none_or(|now| now.certificate != rotation.certificate) {
                        return Ok(None);
                    }
                    self.keys.keep_next(next)?;
                    tracing::info!(from = %link.peer, "this node has the key of the cluster's next authority now");
                    return Ok(self.keys.next_authority().filter(is_it));
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(from = %link.peer, error, "the next authority cannot be taken from this node");
                }
            }
        }
        Ok(None)
    }

    /// Sees to it that this node shows no other certificates than those of the new authority; true if it does not.
    fn shows(&mut self, core: &Core, configuration: &Configuration, rotation: &Rotation) -> Result<bool, Error> {
        if self.credentials.authority_certificate() == rotation.certificate {
            return Ok(self.next.as_ref().is_none_or(|next| self.is_of_own_authority(next)));
        }
        let Some(authority) = self.next_of(core, rotation)? else { return Ok(false) };
        let now = self.keys.clock.wall();
        self.credentials.store_former_authority(&self.keys.folder)?;
        self.former_authority = Some(self.credentials.authority_certificate().to_vec());
        self.trust(configuration);
        if let Some(next) = &self.next {
            let reissued = next.reissued(&authority, now, &SystemRng)?;
            reissued.store_next(&self.keys.folder)?;
            self.next = Some(reissued);
        }
        let reissued = self.credentials.reissued(&authority, now, &SystemRng)?;
        self.adopt(core, reissued)?;
        self.keys.set_authority(&self.credentials)
    }

    fn confirm(&mut self, core: &Core, rotation: &Rotation) {
        let (authority, stage) = (rotation.authority(), rotation.stage);
        match core.propose(Command::ConfirmRotation { node: core.me, authority, stage }) {
            // The cluster has gone on without what this node knows of it.
            Ok(_) | Err(ProposeError::Rejected(Rejection::NoRotation)) => {}
            Err(error) => {
                tracing::warn!(%error, "the cluster does not know yet that this node is ready for its next authority");
                self.due.rotate = core.node.store().clock().monotonic() + CONFIRM_AGAIN;
            }
        }
    }

    /// All nodes show certificates of the new authority: the one before it is not trusted any more.
    fn end_rotation(&mut self) -> Result<(), Error> {
        let (keys, own) = (&self.keys, self.credentials.authority_certificate());
        let is_own = |authority: &Authority| authority.certificate() == own;
        let was_next = keys.next_authority().is_some_and(|next| is_own(&next));
        if self.former_authority.is_none() && !was_next {
            return Ok(());
        }
        let _offered = keys.offered.lock();
        if let Some(authority) = keys.authority().filter(|_| was_next) {
            authority.store_in_force(&keys.folder)?;
        }
        Credentials::forget_former_authority(&keys.folder)?;
        self.former_authority = None;
        if was_next {
            keys.forget_next()?;
        }
        tracing::info!("the cluster has another authority, and this node does not trust the one before it any more");
        Ok(())
    }

    /// Removes a next authority that the cluster is not taking up, unless it may just be about to.
    fn give_up_next(&self, core: &Core) -> Result<(), Error> {
        let offered = self.keys.offered.lock();
        let is_over = core.node.store().clock().monotonic() >= *offered + AGAIN;
        let is_known = *self.keys.is_current.lock() && core.configuration().rotation().is_none();
        if is_over && is_known && self.keys.next_authority().is_some() {
            self.keys.forget_next()?;
            tracing::info!("the cluster does not take up the authority that this node had the key of");
        }
        Ok(())
    }
}
