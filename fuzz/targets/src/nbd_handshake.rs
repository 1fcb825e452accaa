//! Edits of a handshake, said to a server.

#![no_main]

use std::sync::LazyLock;

use fuzz::nbd::{Victim, handshake};
use fuzz::specimen::edited;
use libfuzzer_sys::fuzz_target;

static VICTIM: LazyLock<Victim> = LazyLock::new(|| Victim::start().expect("a server starts"));

fuzz_target!(|script: &[u8]| {
    VICTIM.say(&edited(&handshake(), script)).expect("the server takes another client");
});
