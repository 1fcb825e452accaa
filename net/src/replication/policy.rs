//! How long replication waits and how much it holds.

use thiserror::Error;

use super::message::Record;
use super::wire::{PAYLOAD_BYTES_MAX, RECORDS_MAX};

/// Times, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between two messages to a peer at most, and between two timer events.
    pub heartbeat_us: u64,
    /// How long a member's grant lets the primary serve, counted from when the primary asked for it.
    pub lease_us: u64,
    /// How long a member that granted a lease lets nobody else, itself included, take its place.
    pub grace_us: u64,
    /// A member that is silent or behind for so long is removed.
    pub member_us: u64,
    /// A member whose sync does not come back for so long is removed: a disk may be slow, but nobody's flush is answered without it.
    pub sync_us: u64,
    /// How long a candidate waits for what other members say before it proposes itself.
    pub ask_us: u64,
    /// After so long without an outcome a proposal is made again.
    pub proposal_us: u64,
    /// How long members that lost their tails, all of them that are there, wait for those that are not. Then they go on:
    /// every flush is kept, and writes after the last one may be lost.
    pub doubt_us: u64,
    /// What a clock may gain or lose, in parts per million.
    pub drift_ppm: u64,
}

impl Timing {
    /// Failover within 5 s: grace, asking and a proposal.
    pub const DEFAULT: Self = Self {
        heartbeat_us: 250_000,
        lease_us: 2_000_000,
        grace_us: 2_500_000,
        member_us: 1_500_000,
        sync_us: 10_000_000,
        ask_us: 300_000,
        proposal_us: 1_000_000,
        doubt_us: 30_000_000,
        drift_ppm: 10_000,
    };
}

/// What is held at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// Bytes of payload that were accepted and not answered.
    pub accepted_bytes: u64,
    /// Requests that were accepted and not answered.
    pub accepted: usize,
    /// Records on the way to one peer.
    pub in_flight: u64,
    /// Bytes of payload on the way to one peer; a message that begins below this is sent whole.
    pub in_flight_bytes: u64,
    /// Records that the primary keeps in memory for peers; older ones are read back from the journal.
    pub recent: usize,
    /// Bytes of payload of them; the newest record is kept however long it is.
    pub recent_bytes: u64,
    /// Records in one message, at most [`RECORDS_MAX`].
    pub batch: usize,
    /// Bytes of payload in one message, at most [`PAYLOAD_BYTES_MAX`]. A longer record goes alone.
    pub batch_bytes: u64,
}

impl Windows {
    /// 32 MiB and 4,096 requests.
    pub const DEFAULT: Self = Self {
        accepted_bytes: 32 << 20,
        accepted: 4096,
        in_flight: 4096,
        in_flight_bytes: 8 << 20,
        recent: 8192,
        recent_bytes: 16 << 20,
        batch: 256,
        batch_bytes: 2 << 20,
    };

    /// How many of these records one message holds, from the first: at least one, if there is one.
    pub(super) fn batch_of<'a>(&self, records: impl Iterator<Item = &'a Record>) -> usize {
        let mut bytes = 0;
        let fits = |(index, record): &(usize, &Record)| {
            bytes += record.bytes();
            *index == 0 || bytes <= self.batch_bytes
        };
        records.take(self.batch).enumerate().take_while(fits).count()
    }
}

/// How a volume is replicated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Times.
    pub timing: Timing,
    /// Bounds.
    pub windows: Windows,
    /// Nothing is acknowledged with fewer members than this, until [`super::Event::InSyncMin`] says otherwise.
    pub in_sync_min: usize,
}

/// Why a policy does not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A fast clock's grace could end before a slow clock's lease.
    #[error("lease * (1 + drift) must be less than grace * (1 - drift): lower the lease or raise the grace")]
    LeaseOutlivesGrace,
    /// A lease must survive lost heartbeats.
    #[error("the lease must be at least 3 heartbeats")]
    LeaseTooShort,
    /// A window that lets nothing through.
    #[error("windows and the least number of members must be at least 1")]
    Nothing,
    /// A message of so much could not be sent.
    #[error("a batch is at most {RECORDS_MAX} records and {PAYLOAD_BYTES_MAX} bytes")]
    BatchTooLarge,
}

impl Policy {
    /// The defaults, for three replicas.
    pub const DEFAULT: Self = Self { timing: Timing::DEFAULT, windows: Windows::DEFAULT, in_sync_min: 2 };

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Says which inequality does not hold.
    pub fn check(&self) -> Result<(), PolicyError> {
        let Timing { heartbeat_us, lease_us, grace_us, drift_ppm, .. } = self.timing;
        let Windows { accepted_bytes, accepted, in_flight, in_flight_bytes, recent, recent_bytes, batch, batch_bytes } =
            self.windows;
        let million = 1_000_000;
        let slow = u128::from(lease_us) * u128::from(million + drift_ppm);
        let fast = u128::from(grace_us) * u128::from(million.saturating_sub(drift_ppm));
        if slow >= fast {
            return Err(PolicyError::LeaseOutlivesGrace);
        }
        if heartbeat_us == 0 || lease_us < 3 * heartbeat_us {
            return Err(PolicyError::LeaseTooShort);
        }
        let bytes = accepted_bytes.min(batch_bytes).min(recent_bytes).min(in_flight_bytes);
        if bytes == 0 || in_flight == 0 || accepted.min(recent).min(batch).min(self.in_sync_min) == 0 {
            return Err(PolicyError::Nothing);
        }
        if batch > RECORDS_MAX || batch_bytes > PAYLOAD_BYTES_MAX {
            return Err(PolicyError::BatchTooLarge);
        }
        Ok(())
    }
}
