//! The sender's end.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;

use lsm_store::clock::Clock;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::hello::hello;
use super::watched::{GREETING_TIMEOUT, Watched};
use crate::name::VolumeName;
use crate::tls::ClientTls;

/// Why a receiver cannot be spoken with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Its name is none.
    #[error("{0} is no name or address of a machine")]
    Host(String),
    /// Nobody answers there.
    #[error("no receiver is reached at {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended the connection before it took the sender: it has as many as it takes, or is stopping, or the link broke.
    #[error("the connection with {address} was lost before the receiver had answered")]
    Lost {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The two cannot agree on whom they speak with.
    #[error("{address} and this machine cannot speak under TLS")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A way to a receiver. Clones are the same; one thread at a time uses it.
#[derive(Clone)]
pub struct Line(Arc<Mutex<StreamOwned<ClientConnection, Watched>>>);

/// Connects with a receiver and says which volume is sent to; what comes next is an exchange. Takes at most 10 s for each address of the
/// host.
///
/// # Errors
/// [`RemoteError`]. That a client's certificate is refused may show later, when the first answer is read.
pub fn connect(
    (host, port): (&str, u16),
    tls: &ClientTls,
    clock: &Arc<dyn Clock>,
    volume: &VolumeName,
) -> Result<Line, RemoteError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| RemoteError::Host(host.into()))?;
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let reached = reach((host, port)).and_then(|stream| Watched::new(stream, Arc::clone(clock)));
    let stream = match reached {
        Ok(stream) => stream,
        Err(source) => return Err(RemoteError::Unreachable { address, source }),
    };
    let spoken = tls.connect(name).map_err(io::Error::other).and_then(|session| greet(session, stream, volume));
    match spoken {
        Ok(line) => Ok(Line(Arc::new(Mutex::new(line)))),
        Err(source) if is_of_tls(&source) => Err(RemoteError::Tls { address, source }),
        Err(source) => Err(RemoteError::Lost { address, source }),
    }
}

fn reach(place: (&str, u16)) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::NotFound.into();
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, GREETING_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn greet(
    mut session: ClientConnection,
    mut stream: Watched,
    volume: &VolumeName,
) -> io::Result<StreamOwned<ClientConnection, Watched>> {
    session.complete_io(&mut stream)?;
    let mut line = StreamOwned::new(session, stream);
    line.write_all(&hello(volume))?;
    line.flush()?;
    line.sock.greeted()?;
    Ok(line)
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<rustls::Error>())
}

/// That a certificate is not taken is told after the handshake.
fn refused(error: io::Error) -> io::Error {
    let alert = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match alert {
        Some(rustls::Error::AlertReceived(alert)) => {
            io::Error::other(format!("the receiver does not take this machine's certificate, or ends TLS: {alert:?}"))
        }
        _ => error,
    }
}

impl Read for Line {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.lock().read(buf) {
            // It hung up without a word, as one does whose process was ended.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other.map_err(refused),
        }
    }
}

impl Write for Line {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}
