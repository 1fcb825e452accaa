//! Roots, and snapshots that go from one data directory to another.

use std::fs;

use serde_json::json;

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// Noise that the seed decides.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
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
