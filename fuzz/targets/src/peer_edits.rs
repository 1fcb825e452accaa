//! Edits of a sound message of each kind that nodes say to each other: replication, content, installation, forwarding.

#![no_main]

use std::sync::LazyLock;

use fuzz::peer::{golden, try_script};
use libfuzzer_sys::fuzz_target;
use net::envelope::Message;

static GOLDEN: LazyLock<Vec<Message>> = LazyLock::new(golden);

fuzz_target!(|script: &[u8]| try_script(&GOLDEN, script));
