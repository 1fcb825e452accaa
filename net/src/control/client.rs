//! The asking end of a connection.

use std::io::{self, Read, Write};

use super::connection::{Connection, FromClient, FromNode, Incoming, WINDOW_FRAMES};
use super::error::Error;
use super::frame::MESSAGE_BYTES_MAX;
use super::hello::{Hello, PROTOCOL, Versions, Welcome};
use super::peer::{Chunk, Peer, Progress, Received};
use super::request::Request;
use super::response::Response;

/// A connection to a node.
#[derive(Debug)]
pub struct Client<S> {
    connection: Connection<S>,
    welcome: Welcome,
}

/// What a node says of a request that brings no content.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// It has come so far.
    Progress(Progress),
    /// A piece of content.
    Content(Chunk),
    /// It is done: the last that is said.
    Answer(Box<Response>),
}

impl<S: Read + Write> Client<S> {
    /// Introduces `program` (name and version) to the node at the other end of `stream`.
    ///
    /// # Errors
    /// [`Error::Version`] if the node is too old or too new; [`Error::Failed`] if it refuses, for example because it
    /// is stopping.
    pub fn connect(stream: S, program: &str) -> Result<Self, Error> {
        let mut connection = Connection::new(stream, MESSAGE_BYTES_MAX);
        let hello = Hello { protocol: PROTOCOL.into(), versions: Versions::OURS, program: program.into() };
        connection.send(&FromClient::Hello(hello))?;
        match next(&mut connection)? {
            Incoming::Message(FromNode::Welcome(welcome)) => {
                let theirs = Versions { min: welcome.version, max: welcome.version };
                match Versions::OURS.common(theirs) {
                    Some(_) => Ok(Self { connection, welcome }),
                    None => Err(Error::Version { min: theirs.min, max: theirs.max }),
                }
            }
            Incoming::Message(FromNode::Failed(failure)) => Err(failure.into()),
            _ => Err(Error::Protocol("something else where a welcome was due")),
        }
    }

    /// What the node said of itself.
    pub fn node(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks, moves content and progress between `peer` and the node, and returns the answer.
    ///
    /// After [`Error::Failed`] the connection can be used again, after any other error it cannot.
    pub fn call(&mut self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Error> {
        self.connection.send(&FromClient::Request { request: request.clone() })?;
        if request.uploads()
            && let Some(early) = self.upload(peer)?
        {
            return early;
        }
        self.await_answer(peer, request.converses())
    }

    /// Asks without waiting; [`Client::next_event`] says what comes of it. Nothing else is asked before the answer.
    ///
    /// # Errors
    /// Those of the stream.
    ///
    /// # Panics
    /// If the request brings content.
    pub fn start(&mut self, request: &Request) -> Result<(), Error> {
        assert!(!request.uploads() && !request.converses(), "content is given by a peer");
        self.connection.send(&FromClient::Request { request: request.clone() })
    }

    /// The next that comes of what was started. A node goes on only as its content is taken.
    ///
    /// # Errors
    /// [`Error::Failed`] in place of an answer: the connection can be used again. After any other error it cannot.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = event(next(&mut self.connection)?)? {
                return Ok(event);
            }
        }
    }

    /// Sends `peer`'s content; an answer that comes before all of it was sent (a failure, then) ends the upload.
    fn upload(&mut self, peer: &mut dyn Peer) -> Result<Option<Result<Response, Error>>, Error> {
        let mut on_the_way = 0;
        loop {
            while on_the_way == WINDOW_FRAMES {
                match next(&mut self.connection)? {
                    Incoming::Message(FromNode::Taken) => on_the_way -= 1,
                    Incoming::Message(FromNode::Progress(progress)) => peer.progress(&progress)?,
                    Incoming::Message(message) => {
                        self.connection.send(&FromClient::Abort)?;
                        return answer(message).map(Some);
                    }
                    Incoming::Data(_) => return Err(Error::Protocol("content in answer to an upload")),
                }
            }
            match peer.receive() {
                Ok(Received::Chunk(chunk)) => {
                    self.connection.send_data(chunk.offset, &chunk.data)?;
                    on_the_way += 1;
                }
                Ok(Received::End { size_bytes }) => {
                    self.connection.send(&FromClient::End { size_bytes })?;
                    return Ok(None);
                }
                Err(error) => {
                    self.connection.send(&FromClient::Abort)?;
                    // The node's answer to an abort is a failure that says less than ours.
                    let _ = self.await_answer(peer, false);
                    return Err(error);
                }
            }
        }
    }

    fn await_answer(&mut self, peer: &mut dyn Peer, converses: bool) -> Result<Response, Error> {
        loop {
            let incoming = next(&mut self.connection)?;
            if converses && incoming == Incoming::Message(FromNode::Give) {
                self.give(peer)?;
                continue;
            }
            match event(incoming)? {
                Some(Event::Progress(progress)) => peer.progress(&progress)?,
                Some(Event::Content(chunk)) => peer.send(chunk.offset, &chunk.data)?,
                Some(Event::Answer(answer)) => return Ok(*answer),
                None => {}
            }
        }
    }

    /// Gives the next piece of a conversation, or ends it.
    fn give(&mut self, peer: &mut dyn Peer) -> Result<(), Error> {
        match peer.receive() {
            Ok(Received::Chunk(chunk)) => self.connection.send_data(chunk.offset, &chunk.data),
            Ok(Received::End { size_bytes }) => self.connection.send(&FromClient::End { size_bytes }),
            Err(error) => {
                self.connection.send(&FromClient::Abort)?;
                // The node's answer to an abort is a failure that says less than ours.
                let _ = self.await_answer(peer, false);
                Err(error)
            }
        }
    }
}

/// What to tell the asker of what came; `None` if it is nothing to it.
fn event(incoming: Incoming<FromNode>) -> Result<Option<Event>, Error> {
    match incoming {
        Incoming::Message(FromNode::Taken) => Ok(None),
        Incoming::Message(FromNode::Progress(progress)) => Ok(Some(Event::Progress(progress))),
        Incoming::Data(chunk) => Ok(Some(Event::Content(chunk))),
        Incoming::Message(message) => answer(message)?.map(|answer| Some(Event::Answer(Box::new(answer)))),
    }
}

fn next<S: Read + Write>(connection: &mut Connection<S>) -> Result<Incoming<FromNode>, Error> {
    connection.receive()?.ok_or_else(|| Error::Stream(io::ErrorKind::UnexpectedEof.into()))
}

fn answer(message: FromNode) -> Result<Result<Response, Error>, Error> {
    match message {
        FromNode::Answer { answer } => Ok(Ok(*answer)),
        FromNode::Failed(failure) => Ok(Err(failure.into())),
        _ => Err(Error::Protocol("something else where an answer was due")),
    }
}
