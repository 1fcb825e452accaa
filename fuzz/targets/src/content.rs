//! Content on its way to a replica, with an edit of one question or answer.

#![no_main]

use std::sync::LazyLock;

use fuzz::transfer::Transfer;
use libfuzzer_sys::fuzz_target;

static TRANSFER: LazyLock<Transfer> = LazyLock::new(|| Transfer::make().expect("sound stores can be made"));

fuzz_target!(|script: &[u8]| {
    TRANSFER.try_script(script).expect("all that was sent, or nothing that is believed");
});
