//! Edits of a conversation by the control protocol, said to a node or to a client, as the first byte chooses.

#![no_main]

use std::sync::LazyLock;

use fuzz::control::{Conversation, say_to_client, say_to_node};
use fuzz::specimen::edited;
use libfuzzer_sys::fuzz_target;

static GOLDEN: LazyLock<Conversation> = LazyLock::new(|| Conversation::hold().expect("both ends are sound"));

fuzz_target!(|script: &[u8]| {
    let Some((to, script)) = script.split_first() else { return };
    // Nonsense is refused; only a panic, or memory without bound, is wrong.
    drop(match to % 2 {
        0 => say_to_node(&edited(&GOLDEN.client, script)),
        _ => say_to_client(&edited(&GOLDEN.node, script)),
    });
});
