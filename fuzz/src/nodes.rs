//! Whole nodes, simulated: three to five replicas with the log, the store and the code between them that a daemon runs, on
//! one thread, over disks that tear, lose, rot, fill up and fail, a network that loses, repeats, delays and parts, clocks that
//! drift, and a configuration service that cannot always be reached. Then everything heals, and must converge.
//!
//! [`crate::cluster`] asks whether the protocol is right. This asks whether what is made of it is: real records, real content
//! on its way between nodes, recoveries from what a crash leaves at any operation of the disk.
//!
//! What is checked ([`order`]): there is one order of what clients did, and what every read saw is a state of it that the
//! read's time admits; what a flush covered is in it for ever, and what was answered unless every member lost power, and then
//! only the newest; no store ever has anything else. In the end all replicas are alike, to the root of a snapshot.

mod bug;
mod client;
mod content;
mod health;
mod machine;
mod nemesis;
mod network;
mod order;
mod outbox;
mod process;
mod transfer;
mod work;
mod world;

pub use bug::Bug;
pub use world::{Report, run, trace};
