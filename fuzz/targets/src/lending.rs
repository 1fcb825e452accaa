//! Blocks that a lender gives for damaged ones, with an edit of the question or the answer.

#![no_main]

use std::sync::LazyLock;

use fuzz::transfer::Transfer;
use libfuzzer_sys::fuzz_target;

static TRANSFER: LazyLock<Transfer> = LazyLock::new(|| Transfer::make().expect("sound stores can be made"));

fuzz_target!(|script: &[u8]| {
    TRANSFER.try_lending(script).expect("blocks that are what they were");
});
