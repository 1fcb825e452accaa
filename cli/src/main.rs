//! `silt`: the command and the daemon.
//!
//! A command asks a running daemon through its control socket, or opens the store itself if none runs; what it asks is
//! the same, and executed by the same code ([`handler`]).

mod args;
mod backend;
mod command;
mod conversation;
mod daemon;
mod data_dir;
mod exit;
mod handler;
mod image;
mod logging;
mod membership;
mod output;
mod progress;
mod size;

use clap::Parser;
use siltstone::socket;

/// Many threads that free what others allocated: the C library's allocator spends a tenth of a read on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // With them a page that one of many threads touches keeps 2 MiB resident: twice the budget, for no speed that was
    // measured. A kernel that has none to refuse is as good.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let args = args::Args::parse();
    logging::start(&args.global, args.command.is_daemon());
    match command::run(&args) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error, &args.global).into(),
    }
}
