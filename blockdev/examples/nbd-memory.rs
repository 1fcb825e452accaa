//! Serves one export from memory: `nbd-memory SOCKET SIZE_MIB`, or `nbd-memory ADDRESS:PORT SIZE_MIB` for TCP.
//!
//! For trying clients against the NBD frontend and for measuring it without a store behind it. Runs until killed.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use blockdev::frontend::memory::{MemoryExport, MemoryExports};
use blockdev::frontend::nbd::{Limits, Server};
use lsm_store::clock::SystemClock;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: nbd-memory SOCKET|ADDRESS:PORT SIZE_MIB")?;
    let size_mib: u64 = arguments.next().ok_or("the size is missing")?.parse()?;

    let exports = MemoryExports::single("", MemoryExport::new(size_mib << 20));
    exports.insert("readonly", MemoryExport::read_only(size_mib << 20));
    let server = Server::new(exports, Arc::new(SystemClock::new()), Limits::default())?;
    match address.parse::<SocketAddr>() {
        Ok(address) => drop(server.listen_tcp(address)?),
        Err(_) => server.listen_unix(&address)?,
    }
    loop {
        std::thread::park();
    }
}
