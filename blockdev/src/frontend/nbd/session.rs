//! A client that outlives its connection: what was unanswered when a connection was lost is asked again on the next.
//!
//! Every NBD request can be repeated, so the loss shows as a pause. One thing it cannot hide: a server whose *machine*
//! died may have lost writes that it answered and that were not flushed. Whoever must know that watches
//! [`Session::connection_count`] around its writes and the FLUSH that covers them.

use std::sync::Arc;
use std::time::Duration;

use lsm_store::clock::Clock;
use lsm_store::request::{StatusExtent, Zeroing};
use parking_lot::Mutex;

use super::client::{Client, ClientError, ClientOptions};
use super::uri::NbdUri;

#[cfg(test)]
mod tests;

/// How a lost connection is made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Pause between two attempts.
    pub pause: Duration,
    /// A request fails if there was no connection for so long.
    pub give_up_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { pause: Duration::from_millis(200), give_up_after: Duration::from_secs(120) }
    }
}

/// Makes a connection.
type Connector = dyn Fn() -> Result<Client, ClientError> + Send + Sync;

/// A [`Client`] that connects again by itself. All methods may be called from many threads at once.
pub struct Session {
    connector: Box<Connector>,
    clock: Arc<dyn Clock>,
    retry: Retry,
    current: Mutex<Current>,
    /// Held by the one thread that connects; never together with `current` for longer than it takes to look.
    connecting: Mutex<()>,
}

#[derive(Clone)]
struct Current {
    client: Arc<Client>,
    connection_count: u64,
}

impl Session {
    /// Connects to `uri`, now and whenever the connection is lost.
    ///
    /// # Errors
    /// As [`Client::connect`]; the first connection is tried once.
    pub fn connect(
        uri: NbdUri,
        options: ClientOptions,
        retry: Retry,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        Self::with_connector(move || Client::connect(&uri, options), retry, clock)
    }

    /// Connects by `connector`, now and whenever the connection is lost.
    ///
    /// # Errors
    /// Those of the first call of `connector`.
    pub fn with_connector(
        connector: impl Fn() -> Result<Client, ClientError> + Send + Sync + 'static,
        retry: Retry,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let current = Current { client: Arc::new(connector()?), connection_count: 1 };
        let connecting = Mutex::default();
        Ok(Self { connector: Box::new(connector), clock, retry, current: Mutex::new(current), connecting })
    }

    /// The client of the present connection, for what does not change between connections.
    #[must_use]
    pub fn client(&self) -> Arc<Client> {
        Arc::clone(&self.current.lock().client)
    }

    /// Connections made so far.
    #[must_use]
    pub fn connection_count(&self) -> u64 {
        self.current.lock().connection_count
    }

    /// Runs `request` until it succeeds, fails for a reason that is not the connection, or there is no connection for
    /// too long. `request` must bear repetition.
    ///
    /// # Errors
    /// Those of `request`.
    pub fn run<T>(&self, request: impl Fn(&Client) -> Result<T, ClientError>) -> Result<T, ClientError> {
        loop {
            let current = self.current.lock().clone();
            match request(&current.client) {
                Err(error) if error.is_connection_lost() => self.connect_again(&current, &error)?,
                result => return result,
            }
        }
    }

    fn connect_again(&self, lost: &Current, error: &ClientError) -> Result<(), ClientError> {
        // Counted from the loss: those that wait for their turn give up when the first one does.
        let give_up_at = self.clock.monotonic() + self.retry.give_up_after;
        let _turn = self.connecting.lock();
        if self.connection_count() != lost.connection_count {
            return Ok(());
        }
        tracing::warn!(error = error as &dyn std::error::Error, "the NBD connection is lost, connecting again");
        lost.client.disconnect();
        loop {
            match (self.connector)() {
                Ok(client) => {
                    let mut current = self.current.lock();
                    current.client = Arc::new(client);
                    current.connection_count += 1;
                    return Ok(());
                }
                Err(error) if self.clock.monotonic() >= give_up_at => return Err(error),
                Err(_) => self.clock.sleep(self.retry.pause),
            }
        }
    }

    /// As [`Client::read`].
    ///
    /// # Errors
    /// As there, once connecting again was given up.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ClientError> {
        self.run(|client| client.read(offset, len))
    }

    /// As [`Client::write`].
    ///
    /// # Errors
    /// As there, once connecting again was given up.
    pub fn write(&self, offset: u64, data: &[u8], fua: bool) -> Result<(), ClientError> {
        self.run(|client| client.write(offset, data, fua))
    }

    /// As [`Client::zero`].
    ///
    /// # Errors
    /// As there, once connecting again was given up.
    pub fn zero(&self, offset: u64, len: u64, zeroing: Zeroing, fua: bool) -> Result<(), ClientError> {
        self.run(|client| client.zero(offset, len, zeroing, fua))
    }

    /// As [`Client::trim`].
    ///
    /// # Errors
    /// As there, once connecting again was given up.
    pub fn trim(&self, offset: u64, len: u64) -> Result<(), ClientError> {
        self.run(|client| client.trim(offset, len))
    }

    /// As [`Client::flush`].
    ///
    /// # Errors
    /// As there, once connecting again was given up.
    pub fn flush(&self) -> Result<(), ClientError> {
        self.run(Client::flush)
    }

    /// As [`Client::block_status`].
    ///
    /// # Errors
    /// As there, once connecting again was given up.
    pub fn block_status(&self, offset: u64, len: u64) -> Result<Vec<StatusExtent>, ClientError> {
        self.run(|client| client.block_status(offset, len))
    }
}
