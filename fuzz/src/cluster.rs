//! Replication, simulated: three to five replicas run the code of `net::replication` on one thread, under a network, disks,
//! clocks and a configuration service that fail in every way a seed can think of. Then everything heals, and must converge.
//!
//! What is checked: each block's history is linearizable; what a flush covered is never lost, and nothing acknowledged is
//! unless every member lost its power, and then only the newest writes; runs never hold what a later primary disowns; in
//! the end all replicas are members, sound and alike, and clients are served.

mod bug;
mod clients;
mod disk;
mod executor;
mod health;
pub mod linear;
mod nemesis;
mod node;
mod oracle;
mod service;
mod world;

pub use bug::Bug;
pub(crate) use service::Service;
pub use world::{Report, run, trace};
