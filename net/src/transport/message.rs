//! What comes and goes over a link, and why it does not.

use std::any::Any;
use std::fmt;

use super::{Channel, Link};
use crate::envelope::{self, Message};

/// A message that came.
pub struct Received {
    /// From whom.
    pub link: Link,
    /// By which channel.
    pub channel: Channel,
    /// What.
    pub message: Message,
    /// Gives its room back when dropped.
    hold: Option<Box<dyn Any + Send + Sync>>,
}

impl Received {
    /// A message; `hold` is dropped with it, which is how its receiver's room is counted.
    #[must_use]
    pub fn new(link: Link, channel: Channel, message: Message, hold: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self { link, channel, message, hold }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("link", &self.link)
            .field("channel", &self.channel)
            .field("kind", &self.message.kind)
            .field("bytes", &self.message.body.len())
            .field("held", &self.hold.is_some())
            .finish()
    }
}

/// Takes the answer to a question.
pub type Answer = Box<dyn FnOnce(Message) + Send + Sync>;

/// The right and duty to answer a question; dropped, the asker learns that there will be no answer.
pub struct Responder(Answer);

impl Responder {
    /// A responder that does this with the answer.
    #[must_use]
    pub fn new(answer: Answer) -> Self {
        Self(answer)
    }

    /// Answers.
    pub fn answer(self, message: Message) {
        (self.0)(message);
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Responder").finish_non_exhaustive()
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The link is down.
    #[error("the link is down")]
    Down,
    /// The queue of its class is full.
    #[error("the queue to the peer is full")]
    Full,
    /// The link has as many channels as it may.
    #[error("the link has too many channels")]
    Channels,
    /// The kind does not belong on this channel.
    #[error("a message of kind {0:#06x} on a channel of another class")]
    Misplaced(u16),
    /// The message is longer than its kind may be.
    #[error("the message cannot be sent")]
    Message(#[from] envelope::Error),
}

/// Why a question got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The question was not sent.
    #[error("the question was not sent")]
    Unsent(#[from] SendError),
    /// The link went down; whether the peer got the question is unknown.
    #[error("the link went down before the answer")]
    Down,
    /// The deadline passed; whether the peer got the question is unknown.
    #[error("no answer within the deadline")]
    Deadline,
    /// The peer will not answer.
    #[error("the peer refused to answer")]
    Refused,
    /// The peer's answer makes no sense.
    #[error("the peer's answer is not a message")]
    Garbled(#[source] envelope::Error),
}

/// Why a link went down, or none comes up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Down {
    /// Nothing was heard from the peer for too long.
    #[error("the peer does not answer")]
    Silent,
    /// The peer ended it in good order.
    #[error("the peer stopped")]
    Stopped,
    /// The peer's process is another one than the session began with.
    #[error("the peer was restarted")]
    Restarted,
    /// A newer session took its place.
    #[error("a newer session took its place")]
    Superseded,
    /// The peer is not, or no longer, one of the cluster's nodes.
    #[error("the peer is not a node of the cluster's configuration")]
    Removed,
    /// The peer says that this node is not, or no longer, one of the cluster's nodes.
    #[error("the peer says this node is not part of the cluster's configuration")]
    NotAllowed,
    /// The peer's certificate does not hold, or ours does not for the peer.
    #[error("the handshake was refused: {0}")]
    Identity(String),
    /// The two speak no common version: renew the older one's program.
    #[error("no common version of the messages: {0}")]
    Version(String),
    /// Bytes came that are no message.
    #[error("the peer broke the protocol")]
    Envelope(#[from] envelope::Error),
    /// A message came where none of its kind belongs, or too many of something.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The peer says that this side broke the protocol.
    #[error("the peer says this side broke the protocol: {0}")]
    Accused(String),
    /// This side ended it.
    #[error("this side ended the session")]
    Asked,
    /// The connection failed otherwise.
    #[error("the connection failed: {0}")]
    Failed(String),
}
