//! Edits of an exchange between two nodes, said to the receiver or to the sender, as the first byte chooses.

#![no_main]

use std::sync::LazyLock;

use fuzz::stream::Exchange;
use libfuzzer_sys::fuzz_target;

static EXCHANGE: LazyLock<Exchange> = LazyLock::new(|| Exchange::hold().expect("a sound exchange goes well"));

fuzz_target!(|script: &[u8]| {
    let Some((to, script)) = script.split_first() else { return };
    let held = if to % 2 == 0 { EXCHANGE.try_sender(script) } else { EXCHANGE.try_receiver(script) };
    held.expect("all that was sent, or nothing");
});
