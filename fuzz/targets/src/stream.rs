//! Edits of a stream of `silt send`, received by a node that has what it goes on from.

#![no_main]

use std::sync::LazyLock;

use fuzz::stream::Transmission;
use libfuzzer_sys::fuzz_target;

static TRANSMISSION: LazyLock<Transmission> =
    LazyLock::new(|| Transmission::make().expect("a sound stream is received"));

fuzz_target!(|script: &[u8]| {
    TRANSMISSION.try_script(script).expect("all that was sent, or nothing");
});
