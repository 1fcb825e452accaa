//! Requests after a handshake, the last bytes of the script as edits to them.

#![no_main]

use std::sync::LazyLock;

use fuzz::nbd::{Victim, handshake, requests};
use fuzz::specimen::edited;
use libfuzzer_sys::fuzz_target;

static VICTIM: LazyLock<Victim> = LazyLock::new(|| Victim::start().expect("a server starts"));

fuzz_target!(|script: &[u8]| {
    let Some((edits, script)) = script.split_first() else { return };
    let (script, edits) = script.split_at(script.len() - usize::from(*edits).min(script.len()) % 32);
    let said = [handshake(), edited(&requests(script), edits)].concat();
    VICTIM.say(&said).expect("the server takes another client");
});
