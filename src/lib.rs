//! Deduplicating, compressing, crash-safe block storage to embed.
//!
//! This crate only gathers the parts: [`store`] keeps volumes by id, [`node`] gives them names and exports,
//! [`control`] is how tools talk to a node.

pub use blockdev::lsm_store::{self as store, Error, ErrorKind, Result};
pub use blockdev::net::control;
pub use blockdev::{access, attach, catalog, export, frontend, name, node, schedule, span};
pub use gc;
