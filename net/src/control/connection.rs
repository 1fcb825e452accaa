//! A byte stream seen as typed messages and data.

use std::io::{BufReader, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{Error, Failure};
use super::frame::{self, Frame};
use super::hello::{Hello, Welcome};
use super::peer::{Chunk, Progress};
use super::request::Request;
use super::response::Response;

/// Data frames an uploader may have on the way before the node says it took one.
///
/// Without the bound an uploader would notice a node's failure only after it had sent everything.
pub(super) const WINDOW_FRAMES: usize = 8;

/// What a client says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromClient {
    Hello(Hello),
    Request {
        request: Request,
    },
    /// The upload is complete.
    End {
        size_bytes: u64,
    },
    /// The upload is not going to be complete.
    Abort,
}

/// What a node says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromNode {
    Welcome(Welcome),
    Progress(Progress),
    /// One data frame of the upload was taken.
    Taken,
    /// The next piece of a conversation is wanted.
    Give,
    /// The request is done.
    Answer {
        answer: Box<Response>,
    },
    /// The request, or the handshake, failed.
    Failed(Failure),
}

/// What came.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Incoming<M> {
    Message(M),
    Data(Chunk),
}

/// A stream with its frames; `M` is what the other side says.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: BufReader<S>,
    message_bytes_max: usize,
}

impl<S: Read + Write> Connection<S> {
    pub(super) fn new(stream: S, message_bytes_max: usize) -> Self {
        Self { stream: BufReader::with_capacity(16 << 10, stream), message_bytes_max }
    }

    /// The next message or data; `None` if the other side closed the stream between frames.
    pub(super) fn receive<M: DeserializeOwned>(&mut self) -> Result<Option<Incoming<M>>, Error> {
        match frame::read(&mut self.stream, self.message_bytes_max)? {
            None => Ok(None),
            Some(Frame::Data(chunk)) => Ok(Some(Incoming::Data(chunk))),
            Some(Frame::Message(json)) => match serde_json::from_slice(&json) {
                Ok(message) => Ok(Some(Incoming::Message(message))),
                Err(_) => Err(Error::Protocol("a message that is not one")),
            },
        }
    }

    pub(super) fn send(&mut self, message: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_vec(message).expect("messages have string keys and numbers only");
        if json.len() > frame::MESSAGE_BYTES_MAX {
            return Err(Error::Protocol("the answer is beyond the size limit"));
        }
        Ok(frame::write_message(self.stream.get_mut(), &json)?)
    }

    pub(super) fn send_data(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        Ok(frame::write_data(self.stream.get_mut(), offset, data)?)
    }
}
