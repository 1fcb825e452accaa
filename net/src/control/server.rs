//! The answering end of a connection.

use std::io::{self, Read, Write};

use super::connection::{Connection, FromClient, FromNode, Incoming, WINDOW_FRAMES};
use super::error::{Error, Failure, Kind};
use super::hello::{Hello, PROTOCOL, Versions, Welcome};
use super::peer::{Handler, Peer, Progress, Received};
use super::request::Request;

/// Most bytes of a request: names and numbers, so far below what an answer may have.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Answers the requests of one client until it closes the stream.
///
/// `program` is this node's name and version, `pid` its process. Requests run one after the other on the calling
/// thread. The caller bounds how long a stranger may keep it waiting, by a timeout on the stream.
///
/// # Errors
/// [`Error::Stream`] if the stream fails, [`Error::Protocol`] and [`Error::Version`] if the client is not one of ours.
/// In each case the stream is of no further use, and the client was told why if that was possible.
pub fn serve<S: Read + Write>(stream: S, handler: &dyn Handler, program: &str, pid: u32) -> Result<(), Error> {
    let mut connection = Connection::new(stream, REQUEST_BYTES_MAX);
    let result = converse(&mut connection, handler, program, pid);
    if let Err(error @ (Error::Protocol(_) | Error::Version { .. })) = &result {
        // The error at hand is the one to report; a client that cannot hear of it is no further news.
        let _ = connection.send(&FromNode::Failed(Failure::from_chain(error.kind(), error)));
    }
    result
}

/// Tells a client, once it has introduced itself, why none of its requests is answered.
///
/// # Errors
/// As [`serve`].
pub fn refuse<S: Read + Write>(stream: S, why: &Failure) -> Result<(), Error> {
    let mut connection = Connection::new(stream, REQUEST_BYTES_MAX);
    match hello(&mut connection)? {
        None => Ok(()),
        Some(_) => connection.send(&FromNode::Failed(why.clone())),
    }
}

fn converse<S: Read + Write>(
    connection: &mut Connection<S>,
    handler: &dyn Handler,
    program: &str,
    pid: u32,
) -> Result<(), Error> {
    if !welcome(connection, program, pid)? {
        return Ok(());
    }
    loop {
        match connection.receive()? {
            None => return Ok(()),
            Some(Incoming::Message(FromClient::Request { request })) => answer(connection, handler, &request)?,
            Some(_) => return Err(Error::Protocol("something else where a request was due")),
        }
    }
}

/// Greets the client; `false` if it left without a word.
fn welcome<S: Read + Write>(connection: &mut Connection<S>, program: &str, pid: u32) -> Result<bool, Error> {
    let Some(hello) = hello(connection)? else { return Ok(false) };
    let Some(version) = Versions::OURS.common(hello.versions) else {
        return Err(Error::Version { min: hello.versions.min, max: hello.versions.max });
    };
    connection.send(&FromNode::Welcome(Welcome { version, program: program.into(), pid }))?;
    Ok(true)
}

/// How the client introduces itself; `None` if it left without a word.
fn hello<S: Read + Write>(connection: &mut Connection<S>) -> Result<Option<Hello>, Error> {
    match connection.receive()? {
        None => Ok(None),
        Some(Incoming::Message(FromClient::Hello(hello))) if hello.protocol == PROTOCOL => Ok(Some(hello)),
        Some(_) => Err(Error::Protocol("something else where a hello was due")),
    }
}

fn answer<S: Read + Write>(
    connection: &mut Connection<S>,
    handler: &dyn Handler,
    request: &Request,
) -> Result<(), Error> {
    let (uploading, converses) = (request.uploads() || request.converses(), request.converses());
    let mut peer = Remote { connection, uploading, converses, ahead: 0 };
    let result = match request {
        Request::Unknown => Err(Failure::new(Kind::Unsupported, "the node is too old to know this request")),
        known => handler.handle(known, &mut peer),
    };
    let message = match result {
        Ok(answer) => FromNode::Answer { answer: Box::new(answer) },
        Err(failure) => FromNode::Failed(failure),
    };
    match peer.connection.send(&message) {
        // Nothing of it has been sent.
        Err(Error::Protocol(why)) => {
            let message = format!("{why}: ask for a part of it");
            peer.connection.send(&FromNode::Failed(Failure::new(Kind::Unsupported, message)))?;
        }
        sent => sent?,
    }
    peer.drain()
}

/// A client while one of its requests runs.
struct Remote<'c, S> {
    connection: &'c mut Connection<S>,
    uploading: bool,
    /// It brings content only when it is asked to.
    converses: bool,
    /// Data frames received after the last answer, when nothing is acknowledged any more.
    ahead: usize,
}

impl<S: Read + Write> Remote<'_, S> {
    /// Discards what an uploader sent before it learnt that the request is over.
    fn drain(&mut self) -> Result<(), Error> {
        while self.uploading && !self.converses {
            match self.upload_frame()? {
                Some(Received::Chunk(_)) => self.ahead += 1,
                Some(Received::End { .. }) | None => {}
            }
            if self.ahead > WINDOW_FRAMES {
                return Err(Error::Protocol("content beyond the window"));
            }
        }
        Ok(())
    }

    /// The next frame of the upload; `None` if the client gave up.
    fn upload_frame(&mut self) -> Result<Option<Received>, Error> {
        match self.connection.receive()? {
            Some(Incoming::Data(chunk)) => Ok(Some(Received::Chunk(chunk))),
            Some(Incoming::Message(FromClient::End { size_bytes })) => {
                self.uploading = false;
                Ok(Some(Received::End { size_bytes }))
            }
            Some(Incoming::Message(FromClient::Abort)) => {
                self.uploading = false;
                Ok(None)
            }
            Some(Incoming::Message(_)) => Err(Error::Protocol("something else where content was due")),
            None => Err(Error::Stream(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

impl<S: Read + Write> Peer for Remote<'_, S> {
    fn progress(&mut self, progress: &Progress) -> Result<(), Error> {
        self.connection.send(&FromNode::Progress(progress.clone()))
    }

    fn send(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.connection.send_data(offset, data)
    }

    fn receive(&mut self) -> Result<Received, Error> {
        if !self.uploading {
            return Err(Failure::new(Kind::Protocol, "the request brings no content").into());
        }
        if self.converses {
            self.connection.send(&FromNode::Give)?;
        }
        match self.upload_frame()? {
            Some(chunk @ Received::Chunk(_)) if self.converses => Ok(chunk),
            Some(chunk @ Received::Chunk(_)) => {
                self.connection.send(&FromNode::Taken)?;
                Ok(chunk)
            }
            Some(end) => Ok(end),
            None => Err(Failure::new(Kind::Invalid, "the upload was broken off").into()),
        }
    }
}
