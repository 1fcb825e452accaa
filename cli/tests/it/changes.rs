//! What changed between volumes and snapshots, by `silt diff` and by NBD.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use siltstone::frontend::nbd::wire::negotiation::{
    ContextRequest, Greeting, InfoRequest, OptionHeader, OptionReplyHeader,
};
use siltstone::frontend::nbd::wire::transmission::{ChunkHeader, Reply, Request, decode_status};
use siltstone::frontend::nbd::wire::{Command, CommandFlags, Cookie, OptionCode};
use siltstone::store::clock::{Clock, SystemClock};

use crate::daemon::Daemon;
use crate::load::random_bytes;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::snapshots::{BLOCK_BYTES, change, connect, make};

/// The ranges in a document, as (offset, length).
fn ranges(document: &Value) -> Vec<(usize, usize)> {
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let extents = document["extents"].as_array().unwrap();
    extents.iter().map(|extent| (number(&extent["offset"]), number(&extent["length"]))).collect()
}

/// Copies the ranges that differ over what was there before: that must give what is there now.
#[track_caller]
fn assert_leads(silt: &Silt, (from, before): (&str, &[u8]), (to, after): (&str, &[u8]), changed_bytes_max: usize) {
    let document = silt.json(&["diff", from, to]);
    assert_eq!((&document["from"], &document["to"]), (&json!(from), &json!(to)));
    assert_eq!((&document["from_size_bytes"], &document["to_size_bytes"]), (&json!(before.len()), &json!(after.len())));
    let mut patched = before.to_vec();
    let mut at = 0;
    let mut sum = 0;
    for (offset, len) in ranges(&document) {
        assert!(offset > at || (at, offset) == (0, 0), "ranges grow and are apart");
        at = offset + len;
        sum += len;
        patched[offset..at].copy_from_slice(&after[offset..at]);
    }
    assert!(patched == after, "{from} to {to}");
    assert_eq!(document["changed_bytes"], sum);
    assert!(sum <= changed_bytes_max, "{sum} bytes changed from {from} to {to}");
}

/// What `change` touches, in whole blocks, with the end of the volume.
const CHANGE_BYTES: usize = 17 * BLOCK_BYTES;

fn live(silt: &Silt) {
    let base = make(silt, "demo", 1);
    silt.run(&["snap", "create", "demo@base"]).expect(0);
    let mut demo = base.clone();
    assert_leads(silt, ("demo@base", &base), ("demo", &demo), 0);
    change(silt, "demo", &mut demo, 2);
    assert_leads(silt, ("demo@base", &base), ("demo", &demo), CHANGE_BYTES);
    silt.run(&["snap", "create", "demo@later"]).expect(0);
    let later = demo.clone();
    silt.run(&["clone", "demo@base", "copy"]).expect(0);
    let mut copy = base.clone();
    change(silt, "copy", &mut copy, 3);
    change(silt, "demo", &mut demo, 4);
    assert_leads(silt, ("demo@base", &base), ("demo@later", &later), CHANGE_BYTES);
    assert_leads(silt, ("demo@later", &later), ("demo@base", &base), CHANGE_BYTES);
    assert_leads(silt, ("demo@later", &later), ("demo", &demo), CHANGE_BYTES);
    assert_leads(silt, ("demo", &demo), ("copy", &copy), CHANGE_BYTES);
    assert_leads(silt, ("copy", &copy), ("demo@later", &later), CHANGE_BYTES);
    silt.run(&["snap", "rm", "demo@base"]).expect(0);
    assert_leads(silt, ("demo", &demo), ("copy", &copy), CHANGE_BYTES);

    let text = silt.run(&["diff", "demo@later", "demo"]).expect(0).text();
    assert!(text.trim_start().starts_with("OFFSET") && text.contains(" bytes) in 3 ranges\n"), "{text}");
    silt.run(&["resize", "demo", "--size", "1T"]).expect(0);
    let document = silt.json(&["diff", "demo@later", "demo"]);
    assert_eq!(ranges(&document).last().map(|(offset, len)| offset + len), Some(1 << 40));

    make(silt, "stranger", 5);
    let refusals: [(&[&str], i32, &str); 4] = [
        (&["diff", "demo", "stranger"], 2, "demo and stranger share no past"),
        (&["diff", "demo@base", "demo"], 10, "volume demo has no snapshot named base"),
        (&["diff", "demo", "nobody@s"], 10, "no volume is named nobody"),
        (&["diff", "demo", "Demo"], 2, "a name is"),
    ];
    for (verb, code, message) in refusals {
        let refused = silt.run(verb).expect(code);
        assert!(refused.stderr.contains(message), "{verb:?}: {}", refused.stderr);
        assert!(refused.stdout.is_empty(), "{verb:?} printed something");
    }
}

#[test]
fn changes_are_found_without_a_daemon() {
    let scratch = Scratch::new("changes-stopped");
    live(&Silt::new(&scratch.join("data")));
}

#[test]
fn changes_are_found_with_a_daemon() {
    let scratch = Scratch::new("changes-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    live(&silt);
    daemon.stop().expect(0);
}

/// More ranges than one answer has, in memory and in runs, in a volume whose size has nothing to do with the time it takes.
#[test]
fn many_changes_come_in_pages() {
    const RANGES: usize = 10_000;
    let scratch = Scratch::new("changes-many");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=1P"]);
    silt.run(&["snap", "create", "demo@empty"]).expect(0);
    let client = connect(&silt, "demo");
    let block = random_bytes(1, BLOCK_BYTES);
    let offset = |index: usize| index * 3 * BLOCK_BYTES + (index % 7) * (1 << 40);
    for index in 0..RANGES {
        client.write(offset(index) as u64, &block, false).unwrap();
    }
    drop(client);
    let mut expected: Vec<_> = (0..RANGES).map(|index| (offset(index), BLOCK_BYTES)).collect();
    expected.sort_unstable();
    let clock = SystemClock::new();
    assert!(ranges(&silt.json(&["diff", "demo@empty", "demo"])) == expected);
    let took = clock.monotonic();
    assert!(took.as_secs() < 20, "{took:?} for 10,000 blocks of 1 PiB");
    daemon.stop().expect(0);
    assert!(ranges(&silt.json(&["diff", "demo@empty", "demo"])) == expected);
}

/// A peer past the handshake of `export`, with `context` chosen.
fn enter(silt: &Silt, export: &str, context: &str) -> UnixStream {
    let mut peer = UnixStream::connect(silt.data().join("nbd.sock")).unwrap();
    peer.read_exact(&mut [0; Greeting::BYTES]).unwrap();
    peer.write_all(&3_u32.to_be_bytes()).unwrap();
    let contexts = ContextRequest { name: export, queries: vec![context] }.encode();
    let go = InfoRequest { name: export, wants: Vec::new() }.encode();
    let options: [(_, &[u8], usize); 3] = [
        (OptionCode::STRUCTURED_REPLY, &[], 1),
        (OptionCode::SET_META_CONTEXT, &contexts, 2),
        (OptionCode::GO, &go, 2),
    ];
    for (option, data, replies) in options {
        peer.write_all(&OptionHeader::encode_with(option, data)).unwrap();
        for _ in 0..replies {
            let mut head = [0; OptionReplyHeader::BYTES];
            peer.read_exact(&mut head).unwrap();
            let header = OptionReplyHeader::decode(&head).unwrap().unwrap();
            assert!(!header.reply.is_error(), "{option:?}: {:?}", header.reply);
            peer.read_exact(&mut vec![0; header.len as usize]).unwrap();
        }
    }
    peer
}

/// Asks for the status of the first block; the flags of its first extent.
fn first_flags(peer: &mut UnixStream) -> u32 {
    let command = Command::BLOCK_STATUS;
    let request = Request { flags: CommandFlags::REQ_ONE, command, cookie: Cookie(1), offset: 0, len: 4096 };
    peer.write_all(&request.encode()).unwrap();
    let mut head = [0; ChunkHeader::BYTES];
    peer.read_exact(&mut head).unwrap();
    let Some((Reply::Chunk(header), _)) = Reply::decode(&head).unwrap() else { panic!("no chunk") };
    assert!(!header.kind.is_error());
    let mut payload = vec![0; header.len as usize];
    peer.read_exact(&mut payload).unwrap();
    decode_status(&payload).unwrap().1[0].flags
}

#[test]
fn a_snapshot_stays_while_a_client_asks_what_changed_since() {
    let scratch = Scratch::new("changes-nbd");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=1M"]);
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    let mut peer = enter(&silt, "demo", "qemu:dirty-bitmap:s");
    assert_eq!(first_flags(&mut peer), 0);
    connect(&silt, "demo").write(0, &[1; BLOCK_BYTES], false).unwrap();
    assert_eq!(first_flags(&mut peer), 1);
    for verb in [&["snap", "rm", "demo@s"][..], &["snap", "rename", "demo@s", "t"]] {
        let refused = silt.run(verb).expect(11);
        assert!(refused.stderr.contains("snapshot demo@s is in use by 1 connections"), "{}", refused.stderr);
    }
    assert_eq!(first_flags(&mut peer), 1);
    drop(peer);
    while silt.json(&["info", "demo@s"])["connections"] != 0 {
        std::thread::yield_now();
    }
    silt.run(&["snap", "rm", "demo@s"]).expect(0);
    daemon.stop().expect(0);
}
