//! The replication protocol as a small model, explored completely within bounds: every order of every step, not a sample.
//!
//! The model is written from `docs/decisions/2026-11-26-replication-protocol.md`, not from `net::replication`, and leaves out what
//! has no say in its promises: windows, when to send again, content instead of records. A [`Scope`] says how far it is explored.
//! A [`Flaw`] takes one rule away; each must be found, or the exploration proves nothing.

mod change;
mod deliver;
mod explorer;
mod flaw;
mod healing;
mod journal;
mod message;
mod node;
mod primary;
mod promises;
mod scope;
mod state;

pub use explorer::{Explored, explore};
pub use flaw::Flaw;
pub use scope::{Clocks, Scope};
