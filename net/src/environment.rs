//! What this crate asks of the machine besides sockets: the time of day and chance.
//!
//! Both come by constructor. QUIC itself keeps time and draws keys by its own means; a simulation implements
//! [`crate::transport::Transport`] instead of running it.

use std::time::Duration;

/// The time of day.
pub trait Clock: Send + Sync + 'static {
    /// Time since the Unix epoch. Certificates and tokens expire by it; nothing about data is decided by it.
    fn wall(&self) -> Duration;
}

/// A source of random bytes, good enough for secrets.
pub trait Rng: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>(rng: &dyn Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}

/// The machine's time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn wall(&self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
