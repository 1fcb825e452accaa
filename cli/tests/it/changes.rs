//! What changed between volumes and snapshots, by `silt diff`.

use serde_json::{Value, json};
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
    assert!(text.trim_start().starts_with("OFFSET") && text.contains(" bytes) in 3 ranges"), "{text}");
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
