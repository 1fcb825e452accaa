//! Roots, and snapshots that go from one data directory to another.

use std::fs;

use serde_json::json;

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// Noise that the seed decides.
pub(crate) fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// The command that leads to the receiver of a volume.
pub(crate) fn via(to: &Silt, name: &str) -> String {
    format!("'{}' recv --serve {name} --data '{}'", env!("CARGO_BIN_EXE_silt"), to.data().display())
}

struct Pair {
    from: Silt,
    to: Silt,
}

impl Pair {
    fn new(scratch: &Scratch) -> Self {
        Self { from: Silt::new(&scratch.join("from")), to: Silt::new(&scratch.join("to")) }
    }

    fn root(silt: &Silt, name: &str) -> String {
        silt.json(&["verify", name])["root"].as_str().unwrap().to_owned()
    }

    fn send(&self, arguments: &[&str]) -> Vec<u8> {
        self.from.run(&[&["send"], arguments].concat()).expect(0).stdout
    }

    fn assert_same(&self, from: &str, to: &str) {
        let content = |silt: &Silt, name: &str| silt.run(&["export", name, "-"]).expect(0).stdout;
        assert!(content(&self.from, from) == content(&self.to, to), "{from} and {to}");
        assert_eq!(Self::root(&self.from, from), Self::root(&self.to, to));
    }
}

fn there(pair: &Pair, scratch: &Scratch) {
    let size = (5 << 20) + 777;
    let image = [noise(1, 2 << 20), vec![0; 1 << 20], noise(2, size - (3 << 20))].concat();
    pair.from.run_with_input(&["import", "-", "vm", "--codec", "zstd"], &image).expect(0);
    pair.from.run(&["snap", "create", "vm@mon"]).expect(0);
    let full = pair.send(&["vm@mon"]);
    assert!((4 << 20..5 << 20).contains(&full.len()), "{} bytes", full.len());
    let received = pair.to.run_with_input(&["recv", "copy", "--json"], &full).expect(0).json();
    assert_eq!((&received["name"], &received["size_bytes"]), (&json!("copy@mon"), &json!(size)));
    assert_eq!(received["root"], pair.from.json(&["verify", "vm@mon"])["root"]);
    pair.assert_same("vm@mon", "copy@mon");
    pair.assert_same("vm", "copy");

    let file = scratch.join("vm.img");
    fs::write(&file, &image).unwrap();
    let (file, root) = (file.to_str().unwrap(), Pair::root(&pair.from, "vm@mon"));
    pair.to.run(&["verify", "--file", file, "--root", &root]).expect(0);
    let other = pair.to.run(&["verify", "copy@mon", "--root", &root.replace(['0', '1'], "2"), "--json"]).expect(3);
    assert_eq!(other.json()["matches"], false);
    pair.to.run(&["verify", "copy@mon", "--root", &root[1..]]).expect(2);

    pair.from.run(&["resize", "vm", "--size", "6M"]).expect(0);
    pair.from.run(&["snap", "create", "vm@tue"]).expect(0);
    let changes = pair.send(&["--from", "vm@mon", "vm@tue"]);
    assert!(changes.len() < 100 << 10, "{} bytes", changes.len());
    pair.to.run_with_input(&["recv", "copy"], &changes).expect(0);
    pair.assert_same("vm@tue", "copy@tue");
    pair.assert_same("vm@mon", "copy@mon");

    // What does not fit is refused, and changes nothing.
    pair.to.run_with_input(&["recv", "copy"], &full).expect(1);
    pair.to.run_with_input(&["recv", "copy"], &changes).expect(1);
    pair.to.run_with_input(&["recv", "other"], &changes).expect(10);
    pair.from.run(&["snap", "create", "vm@wed"]).expect(0);
    let changes = pair.send(&["--from", "vm@mon", "vm@wed"]);
    let refused = pair.to.run_with_input(&["recv", "copy"], &changes).expect(2);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    pair.to.run_with_input(&["recv", "copy", "--force"], &changes).expect(0);
    pair.assert_same("vm@wed", "copy");
    for broken in [&full[..0], &full[..full.len() / 2], &full[..full.len() - 1], &[full.clone(), vec![0]].concat()] {
        pair.to.run_with_input(&["recv", "broken"], broken).expect(3);
    }
    let mut damaged = full;
    damaged[1 << 20] ^= 4;
    pair.to.run_with_input(&["recv", "broken"], &damaged).expect(3);
    pair.to.run_with_input(&["recv", "broken"], b"something else").expect(3);
    pair.to.run_with_input(&["recv", "broken"], &[b'x'; 100]).expect(2);
    pair.to.run(&["info", "broken"]).expect(10);
    pair.from.run(&["send", "vm@nothing"]).expect(10);
    let volumes = pair.to.json(&["ls"])["volumes"].as_array().unwrap().len();
    assert_eq!((volumes, pair.to.json(&["snap", "ls"])["snapshots"].as_array().unwrap().len()), (1, 3));
}

#[test]
fn snapshots_travel_without_a_daemon() {
    let scratch = Scratch::new("transfer-stopped");
    let pair = Pair::new(&scratch);
    there(&pair, &scratch);
    for silt in [&pair.from, &pair.to] {
        silt.run(&["check"]).expect(0);
    }
}

#[test]
fn snapshots_travel_between_daemons() {
    let scratch = Scratch::new("transfer-running");
    let pair = Pair::new(&scratch);
    let daemons = [Daemon::start(&pair.from, &[]), Daemon::start(&pair.to, &[])];
    there(&pair, &scratch);
    daemons.into_iter().for_each(|daemon| drop(daemon.stop().expect(0)));
    pair.to.run(&["check"]).expect(0);
}

/// What only the receiver lacks travels, whoever has the stores open.
fn there_and_back(pair: &Pair) {
    let image = noise(1, 4 << 20);
    pair.from.run_with_input(&["import", "-", "vm"], &image).expect(0);
    pair.from.run(&["snap", "create", "vm@mon"]).expect(0);
    let send = |arguments: &[&str], to: &Silt, name: &str| {
        pair.from.run(&[&["send", "--json", "--via", &via(to, name)], arguments].concat())
    };
    let first = send(&["vm@mon"], &pair.to, "copy").expect(0).json();
    assert_eq!((&first["data_bytes"], &first["had_bytes"]), (&json!(4 << 20), &json!(0)));
    assert_eq!(first["root"], pair.from.json(&["verify", "vm@mon"])["root"]);
    pair.assert_same("vm@mon", "copy@mon");

    // 1 % is new, and nobody says since when.
    let changed = [&noise(2, 40 << 10)[..], &image[40 << 10..]].concat();
    pair.from.run(&["rm", "vm", "--snapshots", "--now"]).expect(0);
    pair.from.run_with_input(&["import", "-", "vm"], &changed).expect(0);
    pair.from.run(&["snap", "create", "vm@tue"]).expect(0);
    let second = send(&["vm@tue"], &pair.to, "copy").expect(0).json();
    assert_eq!((&second["data_bytes"], &second["had_bytes"]), (&json!(40 << 10), &json!((4 << 20) - (40 << 10))));
    assert!(second["stream_bytes"].as_u64().unwrap() < 90 << 10, "{second}");
    pair.assert_same("vm@tue", "copy");
    pair.from.run(&["snap", "create", "vm@wed"]).expect(0);
    let third = send(&["--from", "vm@tue", "vm@wed"], &pair.to, "copy").expect(0).json();
    assert!(third["stream_bytes"].as_u64().unwrap() < 1000, "{third}");
    pair.assert_same("vm@wed", "copy@wed");

    // What fails at the receiver is heard at the sender, with its exit code.
    let refused = send(&["vm@wed"], &pair.to, "copy").expect(1);
    assert!(
        refused.stderr.contains("the receiver says: a snapshot named copy@wed exists already"),
        "{}",
        refused.stderr
    );
    send(&["--from", "vm@tue", "vm@wed"], &pair.to, "other").expect(10);
    let silent = pair.from.run(&["send", "--via", "exit 7", "vm@tue"]).expect(1);
    assert!(silent.stderr.contains("exit status: 7"), "{}", silent.stderr);
    let stranger = pair.from.run(&["send", "--via", "echo hello; cat > /dev/null", "vm@tue"]).expect(2);
    assert!(stranger.stderr.contains("hello"), "{}", stranger.stderr);
    pair.from.run(&["send", "--via", &via(&pair.to, "x"), "vm@nothing"]).expect(10);
    pair.from.run(&["send", "--via", "true", "--to", "host:vm", "vm@tue"]).expect(2);
    pair.to.run_with_input(&["recv", "--serve", "x"], &pair.send(&["vm@tue"])).expect(2);
    // Within the one offer of 32 KiB that there is.
    for cut in [0, 20, 1000, 20_000] {
        let cut = format!("head -c {cut} | {}", via(&pair.to, "x"));
        pair.from.run(&["send", "--via", &cut, "vm@tue"]).expect(3);
    }
    pair.to.run(&["info", "x"]).expect(10);
}

#[test]
fn what_the_receiver_has_does_not_travel_without_a_daemon() {
    let scratch = Scratch::new("exchange-stopped");
    let pair = Pair::new(&scratch);
    there_and_back(&pair);
    for silt in [&pair.from, &pair.to] {
        silt.run(&["check"]).expect(0);
    }
}

#[test]
fn what_the_receiver_has_does_not_travel_between_daemons() {
    let scratch = Scratch::new("exchange-running");
    let pair = Pair::new(&scratch);
    let daemons = [Daemon::start(&pair.from, &[]), Daemon::start(&pair.to, &[])];
    there_and_back(&pair);
    daemons.into_iter().for_each(|daemon| drop(daemon.stop().expect(0)));
    pair.to.run(&["check"]).expect(0);
}
