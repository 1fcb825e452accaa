//! Endpoints on the loopback interface.

mod backoff;
mod cluster;
mod exchange;
mod joining;
mod memory;
mod raw;
mod refusal;
mod trouble;
mod versions;
