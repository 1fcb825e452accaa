//! Edits of a handshake, said to a server, and of one that begins TLS, said to its state machine.

#![no_main]

use std::sync::LazyLock;

use fuzz::nbd::{Victim, handshake, handshake_under_tls, negotiate_tls};
use fuzz::specimen::edited;
use libfuzzer_sys::fuzz_target;

static VICTIM: LazyLock<Victim> = LazyLock::new(|| Victim::start().expect("a server starts"));

fuzz_target!(|script: &[u8]| {
    VICTIM.say(&edited(&handshake(), script)).expect("the server takes another client");
    let step = script.first().map_or(1, |first| usize::from(*first));
    negotiate_tls(&edited(&handshake_under_tls(), script), step);
});
