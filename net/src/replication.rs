//! Replication of one volume: PacificA, without socket, file, thread or clock.
//!
//! A [`Replica`] takes events (client requests, messages of peers, what the journal has done, a new configuration, the
//! timer) and gives actions. Whoever executes them keeps their order. What the protocol promises and why it keeps it is
//! in `docs/decisions/2026-11-26-replication-protocol.md`.

mod action;
mod configuration;
mod event;
mod history;
mod id;
mod local;
mod message;
mod policy;
mod replica;
pub mod wire;

pub use action::{Action, Base, Outcome, Refusal};
pub use configuration::{Configuration, Member};
pub use event::{Event, Start};
pub use history::{History, Position};
pub use id::{Epoch, Incarnation, Lsn, NodeId, PauseId, RequestId, Tick, Ticket, TransferId, VolumeId};
pub use message::{Append, Appended, Body, Credit, Greet, Message, Offer, Record, Shortage, Standing, Status};
pub use policy::{Policy, PolicyError, Timing, Windows};
pub use replica::{PAUSE_US, Replica, Role};
