//! The harnesses at the size of a test run. `cargo run --release -p fuzz -- --help` runs them for as long as one likes.

mod cluster;
mod crash;
mod fault;
mod full;
mod model;
mod nodes;
mod protocol;
mod replica;
mod rot;
