//! Endpoints on the loopback interface.

mod cluster;
mod exchange;
