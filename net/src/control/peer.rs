//! The two sides of a request while it runs: who executes it, and who asked.
//!
//! [`Handler`] and [`Peer`] meet directly in one process, or with a [`super::Client`] and [`super::serve`] between them;
//! neither can tell the difference.

use serde::{Deserialize, Serialize};

use super::error::{Error, Failure, Kind};
use super::request::Request;
use super::response::Response;

/// A piece of a volume's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// First byte in the volume.
    pub offset: u64,
    /// The content; at most [`super::DATA_BYTES_MAX`] bytes.
    pub data: Vec<u8>,
}

/// What an asker that uploads gives next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// More content. Chunks do not overlap; what lies between them is zeros.
    Chunk(Chunk),
    /// All content has been given.
    End {
        /// The size of the whole, in bytes.
        size_bytes: u64,
    },
}

/// How far a long request has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done, in the unit of `total`.
    pub done: u64,
    /// Steps in all, if known.
    #[serde(default)]
    pub total: Option<u64>,
    /// What is being done.
    pub what: String,
}

/// Who asked. An error from any method means that nobody waits for the answer any more: stop.
pub trait Peer {
    /// Tells how far the work has come. Not for every step: a few times a second.
    fn progress(&mut self, progress: &Progress) -> Result<(), Error>;

    /// Gives content to the asker (an export). Offsets only grow; what is never given is zeros.
    /// `data` is at most [`super::DATA_BYTES_MAX`] bytes.
    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error>;

    /// Takes content from the asker (an import), or waits for the next piece of a conversation.
    fn receive(&mut self) -> Result<Received, Error>;
}

/// Who executes requests. Called from many threads at once.
pub trait Handler: Send + Sync {
    /// Executes a request; progress and content go through `peer`.
    fn handle(&self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Failure>;
}

/// An asker that takes an answer and nothing else.
#[derive(Debug, Default)]
pub struct NoTransfer;

impl Peer for NoTransfer {
    fn progress(&mut self, _progress: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, _offset: u64, _data: &[u8]) -> Result<(), Error> {
        Err(Failure::new(Kind::Protocol, "content that was not asked for").into())
    }

    fn receive(&mut self) -> Result<Received, Error> {
        Err(Failure::new(Kind::Protocol, "there is no content to give").into())
    }
}
