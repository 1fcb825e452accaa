//! Clients under TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::Raw;
use crate::frontend::nbd::wire::{OptionCode, OptionReply};

/// A stream under TLS.
pub(in crate::frontend::nbd) type Secured = StreamOwned<ClientConnection, TcpStream>;

impl Raw<Secured> {
    /// Past STARTTLS; the TLS handshake is done when something is said.
    pub(in crate::frontend::nbd) fn secure(address: SocketAddr, config: ClientConfig) -> Self {
        let mut clear = Raw::greet(TcpStream::connect(address).unwrap());
        clear.stream.set_nodelay(true).unwrap();
        // A stall is a failed test, not one that never ends.
        clear.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(clear.option(OptionCode::STARTTLS, &[]), [OptionReply::ACK]);
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        Self { stream: StreamOwned::new(session, clear.stream) }
    }

    /// True if the server does not let it in.
    pub(in crate::frontend::nbd) fn is_refused(&mut self) -> bool {
        let said = self.stream.write_all(&[0]).and_then(|()| self.stream.flush());
        said.and_then(|()| self.stream.read(&mut [0])).is_err()
    }
}
