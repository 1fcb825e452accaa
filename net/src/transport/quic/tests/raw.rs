//! A peer that does as a test says.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{ClientConfig, Connection, Endpoint, SendStream};
use tokio::runtime::{Builder, Runtime};

use super::cluster::config;
use crate::envelope::{Family, Header, Hello, LINK_VERSION, Message, Opening, Versions};
use crate::environment::{Clock, SystemClock};
use crate::identity::{Allowed, Credentials, Fingerprint, NodeId, Tls, node_name, pinned_tls};
use crate::transport::quic::CLUSTER_PROTOCOL;
use crate::transport::quic::endpoint::client_config;
use crate::transport::quic::stream::{read_early, write_last};

/// A connection of its own making.
pub(super) struct Raw {
    runtime: Runtime,
    _endpoint: Endpoint,
    pub(super) connection: Connection,
}

impl Raw {
    /// Dials as the node with `credentials`, for one connection.
    pub(super) fn dial(credentials: &Credentials, to: NodeId, address: SocketAddr) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let allowed = Allowed::new([to]);
        let tls = Tls::new(credentials, &allowed, &clock, &[CLUSTER_PROTOCOL], CLUSTER_PROTOCOL).unwrap();
        Self::connect(client_config(&config(), &tls), address, &node_name(credentials.cluster(), to))
    }

    /// Dials without a certificate.
    pub(super) fn nobody(authority: Fingerprint, address: SocketAddr, protocol: &[u8]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tls = pinned_tls(authority, &clock, protocol).unwrap();
        Self::connect(ClientConfig::new(tls), address, "nobody.siltstone")
    }

    fn connect(client: ClientConfig, address: SocketAddr, name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (endpoint, connection) = runtime.block_on(async {
            let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
            let connection = endpoint.connect_with(client, address, name).unwrap().await.unwrap();
            (endpoint, connection)
        });
        Self { runtime, _endpoint: endpoint, connection }
    }

    /// Says hello for a session of one connection; true if it was welcomed.
    pub(super) fn hello(&self) -> bool {
        let versions = Versions::OURS;
        self.greet(&Hello { versions, session: 9, index: 0, count: 1, program: "raw".to_owned() }.encode())
    }

    /// Says something as a hello; true if it was welcomed.
    pub(super) fn greet(&self, message: &Message) -> bool {
        self.runtime.block_on(async {
            let header = Header::encode(LINK_VERSION, message.kind, &message.body).unwrap();
            let (mut sender, mut receiver) = self.connection.open_bi().await.unwrap();
            let sent = write_last(&mut sender, &header, message).await;
            sent.is_ok() && read_early(&mut receiver, Family::Link).await.is_ok()
        })
    }

    /// Writes these bytes to a stream of their own.
    pub(super) fn write(&self, bytes: &[u8]) {
        self.runtime.block_on(async {
            let mut stream = self.connection.open_uni().await.unwrap();
            // The other side may have had enough before the end.
            let _ = stream.write_all(bytes).await;
            let _ = stream.finish();
            // Nothing is sent outside of here.
            let _ = stream.stopped().await;
        });
    }

    /// Writes these bytes to a stream that goes on.
    pub(super) fn begin(&self, bytes: &[u8]) -> SendStream {
        self.runtime.block_on(async {
            let mut stream = self.connection.open_uni().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream
        })
    }

    /// Ends a stream.
    pub(super) fn end(&self, mut stream: SendStream) {
        self.runtime.block_on(async {
            let _ = stream.finish();
            let _ = stream.stopped().await;
        });
    }

    /// Writes these bytes as a question.
    pub(super) fn ask(&self, bytes: &[u8]) {
        self.runtime.block_on(async {
            let (mut stream, answer) = self.connection.open_bi().await.unwrap();
            let _ = stream.write_all(bytes).await;
            let _ = stream.finish();
            let _ = stream.stopped().await;
            drop(answer);
        });
    }

    /// Waits for the end of the connection; gives the code it was closed with.
    pub(super) fn closed(&self) -> Option<u64> {
        match self.runtime.block_on(self.connection.closed()) {
            quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code.into()),
            _ => None,
        }
    }
}

/// The bytes of a message, of any version.
pub(super) fn bytes(version: u16, message: &Message) -> Vec<u8> {
    [&Header::encode(version, message.kind, &message.body).unwrap()[..], &message.body].concat()
}

/// The bytes that open a channel.
pub(super) fn opening(class: u8, id: u64) -> Vec<u8> {
    bytes(LINK_VERSION, &Opening { class, id }.encode())
}
