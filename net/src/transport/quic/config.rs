//! What can be set, with the values meant for a local network.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::envelope::{HEADER_BYTES, Versions};
use crate::identity;
use crate::transport::Class;

/// Most connections of a session.
pub(super) const CONNECTIONS_MAX: u8 = 8;

/// The shortest window of a connection: what travels in a millisecond at 4 Gbit/s, twice.
const WINDOW_BYTES_MIN: u32 = 1 << 20;

/// Longest datagram to try. quinn hands the kernel up to ten at once, which together must fit a UDP datagram of at most
/// 65,507 bytes: if they do not, the kernel refuses them, and quinn takes that for loss in the network.
const DATAGRAM_BYTES_MAX: u16 = 6_500;

/// Why a configuration makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not between one and eight connections.
    #[error("a session has 1 to {CONNECTIONS_MAX} connections, not {0}")]
    Connections(u8),
    /// A queue that does not hold one message.
    #[error("a queue of {found} bytes does not hold a message of {needed}")]
    Queue {
        /// What it would hold.
        found: usize,
        /// What it must hold.
        needed: usize,
    },
    /// Longer datagrams than can be sent ten at once.
    #[error("datagrams of {0} bytes are too long, {DATAGRAM_BYTES_MAX} are the limit")]
    Datagram(u16),
    /// A keep-alive that comes too late.
    #[error("the keep-alive must be shorter than half of the idle timeout")]
    KeepAlive,
}

/// Why a transport did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address to listen on cannot be had.
    #[error("cannot listen for other nodes on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("the thread of the cluster's network cannot be started")]
    Runtime(#[source] io::Error),
    /// Key and certificate are not taken.
    #[error(transparent)]
    Identity(#[from] identity::Error),
}

/// How a node's end of the network behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, UDP.
    pub listen: SocketAddr,
    /// Connections of a session this node dials, 1 to 8. Two keep catch-up out of the way of journals, three also
    /// consensus out of the way of both; more spread the journals of volumes.
    pub connections: u8,
    /// Versions of the messages to speak.
    pub versions: Versions,
    /// This program's name and version, for the peer's log.
    pub program: String,
    /// Bytes that may wait to be sent to a peer, by class.
    pub send_bytes_max: [usize; 3],
    /// Bytes received from a peer and not yet dropped, by class. Questions, and answers, have what the largest class has;
    /// questions of the agreement have room of their own for one of the longest.
    pub receive_bytes_max: [usize; 3],
    /// Bytes a connection holds for sending, and for receiving, below the above.
    pub window_bytes: u32,
    /// After how long without a sign a peer is gone.
    pub idle_timeout: Duration,
    /// After how long a sign is given.
    pub keep_alive: Duration,
    /// How long dialling or a handshake may take.
    pub handshake_timeout: Duration,
    /// Pause before dialling again, first and longest.
    pub backoff: (Duration, Duration),
    /// Longest datagram that path MTU discovery tries, at most 6,500 bytes.
    pub datagram_bytes_max: u16,
    /// Socket buffers to ask the kernel for.
    pub socket_buffer_bytes: usize,
}

impl Config {
    /// Meant for a local network: a peer is missed after 2 seconds, so that a volume can fail over within 5.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            connections: 3,
            versions: Versions::OURS,
            program: format!("silt {}", env!("CARGO_PKG_VERSION")),
            send_bytes_max: [4 << 20, 32 << 20, 8 << 20],
            receive_bytes_max: [4 << 20, 16 << 20, 8 << 20],
            window_bytes: 8 << 20,
            idle_timeout: Duration::from_secs(2),
            keep_alive: Duration::from_millis(400),
            handshake_timeout: Duration::from_secs(2),
            backoff: (Duration::from_millis(50), Duration::from_secs(2)),
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
            socket_buffer_bytes: 8 << 20,
        }
    }

    /// The same for a node that has so much memory for everything: a peer's queues and windows take a fifth of it at most, and on a
    /// very small node what one message of each class needs.
    #[must_use]
    pub fn within(listen: SocketAddr, memory_bytes: u64) -> Self {
        let usual = Self::new(listen);
        let part = |parts: u64| usize::try_from(memory_bytes / parts).unwrap_or(usize::MAX);
        let bounded = |class: Class, bytes: usize, most: [usize; 3]| {
            let least = class.family().body_bytes_max() as usize + HEADER_BYTES;
            bytes.clamp(least, most[class.number()])
        };
        // Journals are what is sent all the time, to several volumes' replicas.
        let sent = |class: Class| if class == Class::Journal { part(16) } else { part(64) };
        let send_bytes_max = Class::ALL.map(|class| bounded(class, sent(class), usual.send_bytes_max));
        let receive_bytes_max = Class::ALL.map(|class| bounded(class, part(64), usual.receive_bytes_max));
        let window_bytes = u32::try_from(part(256)).unwrap_or(u32::MAX).clamp(WINDOW_BYTES_MIN, usual.window_bytes);
        Self { send_bytes_max, receive_bytes_max, window_bytes, ..usual }
    }

    /// Most memory one peer's messages can take here, in bytes.
    #[must_use]
    pub fn peer_bytes_max(&self) -> usize {
        let windows = 2 * usize::from(self.connections) * self.window_bytes as usize;
        let queues = self.send_bytes_max.iter().sum::<usize>() + self.receive_bytes_max.iter().sum::<usize>();
        windows + queues + self.question_bytes_max().iter().sum::<usize>() + self.answer_bytes_max()
    }

    /// Room for questions that came, in bytes: for those of the agreement, of which one is let in in any case, and for all others.
    pub(super) fn question_bytes_max(&self) -> [usize; 2] {
        [Class::Control.family().body_bytes_max() as usize, self.answer_bytes_max()]
    }

    /// Room for answers, in bytes.
    pub(super) fn answer_bytes_max(&self) -> usize {
        self.receive_bytes_max.into_iter().max().unwrap_or_default()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(ConfigError::Connections(self.connections));
        }
        for class in Class::ALL {
            let needed = class.family().body_bytes_max() as usize + HEADER_BYTES;
            let found = self.send_bytes_max[class.number()].min(self.receive_bytes_max[class.number()]);
            if found < needed {
                return Err(ConfigError::Queue { found, needed });
            }
        }
        if self.datagram_bytes_max > DATAGRAM_BYTES_MAX {
            return Err(ConfigError::Datagram(self.datagram_bytes_max));
        }
        if self.keep_alive > self.idle_timeout / 2 {
            return Err(ConfigError::KeepAlive);
        }
        Ok(())
    }
}
