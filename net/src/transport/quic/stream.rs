//! Messages on streams.

use quinn::{Connection, ReadExactError, RecvStream, SendStream, VarInt};

use super::close;
use crate::envelope::{self, Family, HEADER_BYTES, Header, LINK_VERSION, Message};
use crate::transport::Down;

/// Why no message was read.
pub(crate) enum ReadError {
    /// The stream or its connection ended; the connection knows why.
    Ended,
    /// What came is no message.
    Envelope(envelope::Error),
}

impl ReadError {
    /// What it means for a session.
    pub(super) fn into_down(self, connection: &Connection) -> Down {
        match self {
            Self::Envelope(error) => Down::Envelope(error),
            Self::Ended => connection.close_reason().map_or(Down::Protocol("a stream broke off"), close::reason),
        }
    }
}

impl From<envelope::Error> for ReadError {
    fn from(error: envelope::Error) -> Self {
        Self::Envelope(error)
    }
}

/// Reads a header; `None` if the stream was finished where one would start.
pub(super) async fn read_header(stream: &mut RecvStream, version: u16) -> Result<Option<Header>, ReadError> {
    let mut bytes = [0; HEADER_BYTES];
    match stream.read_exact(&mut bytes).await {
        Ok(()) => Ok(Some(Header::decode(&bytes, version)?)),
        Err(ReadExactError::FinishedEarly(0)) => Ok(None),
        Err(ReadExactError::FinishedEarly(_)) => Err(envelope::Error::Short.into()),
        Err(ReadExactError::ReadError(_)) => Err(ReadError::Ended),
    }
}

/// Reads and checks the body that follows `header`.
pub(super) async fn read_body(stream: &mut RecvStream, header: &Header) -> Result<Message, ReadError> {
    let mut body = Vec::with_capacity(header.body_bytes());
    while body.len() < header.body_bytes() {
        match stream.read_chunk(header.body_bytes() - body.len(), true).await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err(envelope::Error::Short.into()),
            Err(_) => return Err(ReadError::Ended),
        }
    }
    header.check(&body)?;
    Ok(Message::new(header.kind(), body))
}

/// Reads one message of a family that needs no agreed version.
pub(crate) async fn read_early(stream: &mut RecvStream, family: Family) -> Result<Message, ReadError> {
    let header = read_header(stream, LINK_VERSION).await?.ok_or(envelope::Error::Short)?;
    if header.kind().family() != Some(family) {
        return Err(envelope::Error::Misplaced(header.kind().0).into());
    }
    read_body(stream, &header).await
}

/// The code with which a stream is reset whose message was given up.
const GIVEN_UP: VarInt = VarInt::from_u32(0);

/// A stream that is reset if it is dropped before its message is whole: dropped as it is it would be finished, and the peer
/// would take what is short for a breach of the protocol.
struct Whole<'a> {
    stream: &'a mut SendStream,
    is_finished: bool,
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            // Fails only if it was reset before.
            let _ = self.stream.reset(GIVEN_UP);
        }
    }
}

/// Writes one message and finishes the stream; given up before, the stream is reset.
pub(crate) async fn write_last(
    stream: &mut SendStream,
    header: &[u8; HEADER_BYTES],
    message: &Message,
) -> Result<(), quinn::WriteError> {
    let mut whole = Whole { stream, is_finished: false };
    whole.stream.write_all(header).await?;
    whole.stream.write_chunk(message.body.clone()).await?;
    // Fails only if it was finished or reset before.
    let _ = whole.stream.finish();
    whole.is_finished = true;
    Ok(())
}
