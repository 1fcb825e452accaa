//! Messages between the nodes of a cluster.
//!
//! Specified in `docs/protocol.md`, "Sessions". [`Transport`] is what replication and consensus are run over, and what a
//! simulator implements without sockets; [`quic::QuicTransport`] is the real one. Both are driven the same way: calls
//! go in and return at once, a [`Handler`] hears what comes out.
//!
//! What every implementation promises:
//! - While two nodes have a **session**, each sees the other under a [`Link`]. [`Handler::handle_up`] comes before
//!   anything else of a link, [`Handler::handle_down`] after everything; a peer has one link at a time.
//! - Within a link and a [`Channel`], messages arrive in the order they were sent, each once, without gaps. When the
//!   link goes down an unknown number of the last ones is lost: whoever needs them sends them again.
//! - Nothing queues without bound. [`Transport::send`] refuses with [`SendError::Full`] and [`Handler::handle_room`]
//!   says when to go on. What was received counts against a limit until its [`Received`] is dropped; past the limit the
//!   peer is not read from, and in time its queue is full.
//! - Every request is answered once: by the peer, or by a [`RequestError`] at the deadline at the latest.

mod channel;
mod message;
pub mod quic;

use std::sync::mpsc;
use std::time::Duration;

pub use channel::{Channel, Class, Link};
pub use message::{Answer, Down, Received, RequestError, Responder, SendError};

use crate::envelope::Message;
use crate::identity::NodeId;

/// A node of the cluster, and where to reach it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its addresses, tried in this order.
    pub addresses: Vec<std::net::SocketAddr>,
}

/// What is done when an answer, or none, has come. Called on the transport's thread: it must not block.
pub type OnAnswer = Box<dyn FnOnce(Result<Message, RequestError>) + Send>;

/// A way to the other nodes.
pub trait Transport: Send + Sync {
    /// Queues a message. Its kind's family must be that of the channel's class.
    ///
    /// # Errors
    /// [`SendError::Full`]: wait for [`Handler::handle_room`]. [`SendError::Down`]: wait for the next link. The others
    /// are defects of the caller.
    fn send(&self, link: Link, channel: Channel, message: Message) -> Result<(), SendError>;

    /// Asks a question. `answer` is called once, also on every failure, at the latest after `deadline`.
    fn request(&self, link: Link, message: Message, deadline: Duration, answer: OnAnswer);

    /// The link to a peer, if it is up.
    fn link(&self, peer: NodeId) -> Option<Link>;

    /// Ends a session, for a peer whose messages make no sense. It is taken up again as after a failure.
    fn disconnect(&self, link: Link);

    /// Ends the channels that are not wanted any more, once what was queued for them is sent. One that is used again is begun anew,
    /// and still keeps its order.
    fn retain_channels(&self, is_wanted: &dyn Fn(Link, Channel) -> bool);

    /// From now on these nodes may speak and no others. Sessions of the others end at once.
    fn set_peers(&self, peers: Vec<Peer>);
}

/// Who hears what comes from the network. Called on the transport's thread, one call at a time: calls must not block and
/// should hand anything longer than some microseconds to another thread.
pub trait Handler: Send + Sync + 'static {
    /// A session began.
    fn handle_up(&self, link: Link);

    /// It ended. The link means nothing from here on.
    fn handle_down(&self, link: Link, reason: &Down);

    /// A message came. It counts against the limit of its class until it is dropped.
    fn handle_message(&self, received: Received);

    /// A question came. Dropping `responder` refuses to answer.
    fn handle_request(&self, link: Link, message: Message, responder: Responder);

    /// A send was refused as [`SendError::Full`], and now half of the class's queue is free.
    fn handle_room(&self, link: Link, class: Class);
}

/// Asks a question and waits for the answer. Not to be called on the transport's thread.
///
/// # Errors
/// As [`Transport::request`].
pub fn call(
    transport: &dyn Transport,
    link: Link,
    message: Message,
    deadline: Duration,
) -> Result<Message, RequestError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let answer = move |answer| {
        // The receiver waits below until this is sent.
        let _ = sender.send(answer);
    };
    transport.request(link, message, deadline, Box::new(answer));
    receiver.recv().unwrap_or(Err(RequestError::Down))
}
