//! What comes from other nodes, and to whom it goes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use net::config::raft::{CallError, Caller};
use net::envelope::{Family, Kind, Message};
use net::forward::FORWARD;
use net::id::{NodeId, VolumeId};
use net::identity::{AUTHORITY, NEXT_AUTHORITY};
use net::news::NEWS;
use net::replication::Event;
use net::transport::{Class, Down, Handler, Link, Received, RequestError, Responder, Transport};
use tokio::sync::oneshot;

use super::core::Core;
use super::keys::Keys;
use super::workers::Workers;

/// A question of the agreement on the configuration.
const AGREEMENT: Kind = Kind::control(1);

/// The node, as its connections see it.
pub(super) struct Network {
    /// Set once there is one; nothing comes before.
    pub(super) core: OnceLock<Weak<Core>>,
    /// Set once they are there; until then nobody is given any.
    pub(super) keys: OnceLock<Weak<Keys>>,
    /// For requests of clients.
    pub(super) workers: Arc<Workers>,
    /// For content that comes: requests that wait must not keep it from ending their wait.
    pub(super) movers: Arc<Workers>,
}

impl Network {
    fn core(&self) -> Option<Arc<Core>> {
        self.core.get()?.upgrade()
    }
}

impl Handler for Network {
    fn handle_up(&self, link: Link) {
        tracing::info!(node = %link.peer, "connected");
        if let Some(core) = self.core() {
            core.note_change();
        }
    }

    fn handle_down(&self, link: Link, reason: &Down) {
        tracing::warn!(node = %link.peer, %reason, "the connection to a node ended");
        let Some(core) = self.core() else { return };
        core.replicas.read().values().for_each(|replica| replica.tell(Event::PeerDown(link.peer)));
        core.note_change();
    }

    fn handle_message(&self, received: Received) {
        let Some(core) = self.core() else { return };
        if let Some(replica) = core.replica(VolumeId(received.channel.id)) {
            replica.receive(received);
        }
    }

    fn handle_request(&self, link: Link, message: Message, responder: Responder) {
        let Some(core) = self.core() else { return };
        match message.kind {
            AGREEMENT => {
                core.runtime.clone().spawn(async move {
                    let answer = core.consensus().handle(link.peer, &message.body).await;
                    responder.answer(Message::new(AGREEMENT, answer));
                });
            }
            AUTHORITY | NEXT_AUTHORITY => {
                if let Some(keys) = self.keys.get().and_then(Weak::upgrade) {
                    responder.answer(keys.answer(&core.configuration(), link, message.kind));
                }
            }
            NEWS => self.workers.run(move || {
                if let Some(told) = core.tell_news(&message) {
                    responder.answer(told);
                }
            }),
            FORWARD => self.workers.run(move || {
                // Over a link that is down nobody waits for it any more, and it may have been asked again.
                if core.transport().link(link.peer) == Some(link) {
                    responder.answer(core.answer(link.peer, &message));
                }
            }),
            kind if kind.family() == Some(Family::Bulk) => self.movers.run(move || {
                if let Some(answer) = core.receive_content(link.peer, &message) {
                    responder.answer(answer);
                }
            }),
            kind => tracing::warn!(node = %link.peer, kind = kind.0, "a question that this version does not know"),
        }
    }

    fn handle_room(&self, _link: Link, _class: Class) {}
}

/// Carries the agreement's messages.
pub(super) struct AgreementCaller {
    pub(super) core: Weak<Core>,
}

impl Caller for AgreementCaller {
    fn call(
        &self,
        to: NodeId,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, CallError>> + Send + '_>> {
        Box::pin(async move {
            let core = self.core.upgrade().ok_or(CallError::Unreachable)?;
            let link = core.transport().link(to).ok_or(CallError::Unreachable)?;
            let (sender, receiver) = oneshot::channel();
            // Nobody listens if whoever asked was cancelled.
            let answered = Box::new(move |answer| _ = sender.send(answer));
            core.transport().request(link, Message::new(AGREEMENT, request), deadline, answered);
            match receiver.await {
                Ok(Ok(answer)) => Ok(answer.body.to_vec()),
                Ok(Err(RequestError::Unsent(_))) => Err(CallError::Unreachable),
                _ => Err(CallError::Lost),
            }
        })
    }
}
