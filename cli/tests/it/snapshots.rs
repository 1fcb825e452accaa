//! Snapshots and clones, end to end: with a daemon, without one, and after one that was killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use siltstone::export::Zeroing;
use siltstone::frontend::nbd::client::{self, Client, ClientError, ClientOptions};
use siltstone::frontend::nbd::uri::NbdUri;
use siltstone::frontend::nbd::wire::Errno;

use crate::daemon::Daemon;
use crate::load::random_bytes;
use crate::scratch::Scratch;
use crate::silt::Silt;

pub(crate) const BLOCK_BYTES: usize = 4096;
/// A volume's size: more than a flush job's worth of blocks, and not a whole number of them.
pub(crate) const VOLUME_BYTES: usize = (3 << 20) + 777;

pub(crate) fn uri(silt: &Silt, name: &str) -> NbdUri {
    silt.json(&["uri", name])["uris"][0].as_str().unwrap().parse().unwrap()
}

#[track_caller]
pub(crate) fn connect(silt: &Silt, name: &str) -> Client {
    Client::connect(&uri(silt, name), ClientOptions::default()).unwrap()
}

fn is_running(silt: &Silt) -> bool {
    silt.json(&["status"])["running"] == true
}

/// Makes a volume of random content and returns that.
pub(crate) fn make(silt: &Silt, name: &str, seed: u64) -> Vec<u8> {
    let content = random_bytes(seed, VOLUME_BYTES);
    silt.run_with_input(&["import", "-", name], &content).expect(0);
    content
}

/// Changes a volume by NBD: a few blocks, a part of one, and a hole. If no daemon runs, one is started for it.
#[track_caller]
pub(crate) fn change(silt: &Silt, name: &str, content: &mut [u8], seed: u64) {
    let daemon = (!is_running(silt)).then(|| Daemon::start(silt, &[]));
    let client = connect(silt, name);
    let new = random_bytes(seed, 10 * BLOCK_BYTES);
    for (offset, len) in [(0, new.len()), (1 << 20, 100), (content.len() - 500, 500)] {
        client.write(offset as u64, &new[..len], false).unwrap();
        content[offset..offset + len].copy_from_slice(&new[..len]);
    }
    client.zero(2 << 20, 5 * BLOCK_BYTES as u64, Zeroing::Hole, false).unwrap();
    content[2 << 20..][..5 * BLOCK_BYTES].fill(0);
    client.flush().unwrap();
    client.disconnect();
    drop(client);
    // The daemon notices a little later.
    while silt.json(&["info", name])["connections"] != 0 {
        thread::yield_now();
    }
    if let Some(daemon) = daemon {
        daemon.stop().expect(0);
    }
}

/// That volume or snapshot `name` holds `content`, by `silt export` and, if a daemon runs, by NBD.
#[track_caller]
pub(crate) fn assert_holds(silt: &Silt, name: &str, content: &[u8]) {
    assert!(silt.run(&["export", name, "-"]).expect(0).stdout == content, "{name} was exported");
    if is_running(silt) {
        let client = connect(silt, name);
        assert_eq!(client.size_bytes(), content.len() as u64, "{name}");
        assert!(client.read(0, content.len()).unwrap() == content, "{name} was read");
    }
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

/// The life of snapshots and clones, with what each command prints.
fn live(silt: &Silt) {
    let base = make(silt, "demo", 1);
    let mut demo = base.clone();
    let created = silt.json(&["snap", "create", "demo@base"]);
    assert_eq!(created["snapshots"][0]["size_bytes"], VOLUME_BYTES);
    change(silt, "demo", &mut demo, 2);
    assert_holds(silt, "demo", &demo);
    assert_holds(silt, "demo@base", &base);

    silt.run(&["clone", "demo@base", "copy"]).expect(0);
    silt.run(&["clone", "demo", "now"]).expect(0);
    let (mut copy, mut now) = (base.clone(), demo.clone());
    assert_holds(silt, "copy", &copy);
    assert_holds(silt, "now", &now);
    for (name, content, seed) in [("copy", &mut copy, 3), ("now", &mut now, 4), ("demo", &mut demo, 5)] {
        change(silt, name, content, seed);
    }
    silt.run(&["snap", "create", "demo@later", "copy@own"]).expect(0);
    for (name, content) in [("demo", &demo), ("demo@base", &base), ("copy", &copy), ("now", &now)] {
        assert_holds(silt, name, content);
    }

    assert_eq!(names(&silt.json(&["ls"])["volumes"]), ["copy", "demo", "now"]);
    assert_eq!(names(&silt.json(&["snap", "ls"])["snapshots"]), ["copy@own", "demo@base", "demo@later"]);
    assert_eq!(names(&silt.json(&["snap", "ls", "demo"])["snapshots"]), ["demo@base", "demo@later"]);
    assert_eq!(names(&silt.json(&["children", "demo"])["volumes"]), ["copy", "now"]);
    assert_eq!(names(&silt.json(&["children", "demo@base"])["volumes"]), ["copy"]);
    assert_eq!(names(&silt.json(&["children", "copy"])["volumes"]), [""; 0]);
    let table = silt.run(&["snap", "ls"]).expect(0).text();
    assert!(table.starts_with("NAME") && table.contains("demo@later") && table.lines().count() == 4, "{table}");
    let text = silt.run(&["info", "copy"]).expect(0).text();
    assert!(text.contains("clone of   demo@base") && text.contains("snapshots  1"), "{text}");
    assert_eq!(silt.json(&["info", "demo@base"])["volume"], "demo");
    assert_eq!(names(&silt.json(&["du", "demo@base", "copy"])["volumes"]), ["copy", "demo@base"]);

    silt.run(&["resize", "demo", "--size", "64M"]).expect(0);
    silt.run(&["snap", "rollback", "demo@base"]).expect(0);
    assert_holds(silt, "demo", &base);
    change(silt, "demo", &mut base.clone(), 6);
    silt.run(&["snap", "rollback", "demo@later"]).expect(0);
    assert_holds(silt, "demo", &demo);
    assert_holds(silt, "demo@base", &base);
    change(silt, "demo", &mut demo, 7);
    assert_holds(silt, "demo", &demo);

    silt.run(&["snap", "rename", "demo@base", "first"]).expect(0);
    assert_holds(silt, "demo@first", &base);
    silt.run(&["info", "demo@base"]).expect(10);
    assert_eq!(silt.json(&["info", "copy"])["origin"]["snapshot"], "demo@first");
    silt.run(&["snap", "rm", "demo@first"]).expect(0);
    let refused = silt.run(&["rm", "demo"]).expect(2);
    assert!(refused.stderr.contains("demo has 1 snapshot: remove them first"), "{}", refused.stderr);
    assert_holds(silt, "demo", &demo);
    silt.run(&["rm", "demo", "--snapshots"]).expect(0);
    assert_eq!(names(&silt.json(&["snap", "ls"])["snapshots"]), ["copy@own"]);
    let origin = &silt.json(&["info", "copy"])["origin"];
    assert_eq!((&origin["volume"], &origin["snapshot"]), (&Value::Null, &Value::Null));
    for (name, content) in [("copy", &copy), ("copy@own", &copy), ("now", &now)] {
        assert_holds(silt, name, content);
    }
    silt.run(&["rm", "copy", "now", "--snapshots", "--now"]).expect(0);
    assert_eq!(silt.json(&["ls"]), json!({ "volumes": [] }));
    assert_eq!(silt.json(&["snap", "ls"]), json!({ "snapshots": [] }));
}

#[test]
fn snapshots_live_without_a_daemon() {
    let scratch = Scratch::new("snapshots-stopped");
    let silt = Silt::new(&scratch.join("data"));
    live(&silt);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn snapshots_live_with_a_daemon() {
    let scratch = Scratch::new("snapshots-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    live(&silt);
    daemon.stop().expect(0);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn what_cannot_be_done_is_told() {
    let scratch = Scratch::new("snapshots-refused");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["create", "demo", "--size", "1M"]).expect(0);
    silt.run(&["create", "other", "--size", "1M"]).expect(0);
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    let refusals: [(&[&str], i32, &str); 18] = [
        (&["snap", "create", "demo@s"], 1, "a snapshot named demo@s exists"),
        (&["snap", "create", "other@s", "demo@s"], 1, "a snapshot named demo@s exists"),
        (&["snap", "create", "demo@x", "demo@y"], 2, "volume demo is named twice"),
        (&["snap", "create", "demo"], 2, "VOLUME@NAME"),
        (&["snap", "create", "demo@X"], 2, "a name is"),
        (&["snap", "create", "nobody@s"], 10, "no volume is named nobody"),
        (&["snap", "ls", "nobody"], 10, "no volume is named nobody"),
        (&["snap", "rm", "demo@x"], 10, "volume demo has no snapshot named x"),
        (&["snap", "rollback", "other@s"], 10, "volume other has no snapshot named s"),
        (&["snap", "rename", "demo@s", "s"], 1, "a snapshot named demo@s exists"),
        (&["snap", "rename", "demo@s", "other@s"], 2, "names a snapshot"),
        (&["clone", "demo@s", "other"], 1, "a volume named other exists"),
        (&["clone", "demo@x", "new"], 10, "volume demo has no snapshot named x"),
        (&["children", "demo@x"], 10, "volume demo has no snapshot named x"),
        (&["resize", "demo@s", "--size", "2M"], 2, "names a snapshot, which never changes"),
        (&["import", "-", "demo@x"], 2, "names a snapshot, which never changes"),
        (&["create", "demo@x", "--size", "1M"], 2, "names a snapshot, which never changes"),
        (&["export", "demo@x", "-"], 10, "volume demo has no snapshot named x"),
    ];
    let refuse_all = || {
        for (verb, code, message) in refusals {
            let refused = silt.run(verb).expect(code);
            assert!(refused.stderr.contains(message), "{verb:?}: {}", refused.stderr);
        }
        assert_eq!(names(&silt.json(&["snap", "ls"])["snapshots"]), ["demo@s"]);
    };
    refuse_all();
    let daemon = Daemon::start(&silt, &[]);
    refuse_all();
    daemon.stop().expect(0);
}

#[test]
fn clients_read_a_snapshot_and_cannot_write_it() {
    let scratch = Scratch::new("snapshots-nbd");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let base = make(&silt, "demo", 1);
    let writer = connect(&silt, "demo");
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    writer.write(0, &[7; BLOCK_BYTES], false).unwrap();

    let exports = client::list(&uri(&silt, "demo@s").endpoint, ClientOptions::default()).unwrap();
    assert_eq!(exports, ["demo", "demo@s"]);
    let reader = connect(&silt, "demo@s");
    assert!(reader.is_read_only() && !writer.is_read_only());
    let refused = reader.write(0, &[1; BLOCK_BYTES], false);
    assert!(matches!(refused, Err(ClientError::Server { error: Errno::PERM })), "{refused:?}");
    // Not even offered.
    let refused = [reader.zero(0, 4096, Zeroing::Hole, false), reader.trim(0, 4096)];
    assert!(refused.iter().all(|refused| matches!(refused, Err(ClientError::Unsupported { .. }))), "{refused:?}");
    assert!(reader.read(0, base.len()).unwrap() == base);

    // While both are connected.
    silt.run(&["clone", "demo", "now"]).expect(0);
    silt.run(&["snap", "create", "demo@t"]).expect(0);
    let busy: [&[&str]; 5] = [
        &["snap", "rollback", "demo@s"],
        &["snap", "rm", "demo@s"],
        &["snap", "rename", "demo@s", "u"],
        &["rm", "demo"],
        &["rm", "demo", "--snapshots"],
    ];
    for verb in busy {
        let refused = silt.run(verb).expect(11);
        assert!(refused.stderr.contains("is in use by 1 connections: disconnect"), "{verb:?}: {}", refused.stderr);
    }
    drop(writer);
    while silt.json(&["info", "demo"])["connections"] != 0 {
        thread::yield_now();
    }
    silt.run(&["snap", "rollback", "demo@s"]).expect(0);
    silt.run(&["rm", "demo", "--snapshots"]).expect(11);
    assert_eq!(names(&silt.json(&["snap", "ls"])["snapshots"]), ["demo@s", "demo@t"], "all or none");
    assert_holds(&silt, "demo", &base);
    assert_eq!(silt.json(&["iostat", "--volume", "demo@s"])["volumes"][0]["connections"], 1);
    drop(reader);
    daemon.stop().expect(0);
}

/// Volumes, snapshots and clones of these, which go in every order; what is left stays what it was.
#[test]
fn clones_outlive_what_they_were_made_from() {
    let scratch = Scratch::new("snapshots-orders");
    let silt = Silt::new(&scratch.join("data"));
    let mut daemon = Daemon::start(&silt, &[]);
    // A parent, a clone of its snapshot, and a clone of that one's.
    let orders = [["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"], ["b", "c", "a"], ["c", "a", "b"], ["c", "b", "a"]];
    for (seed, order) in (0..).step_by(10).zip(orders) {
        let mut left = Vec::new();
        let mut content = make(&silt, "a", seed);
        for (seed, name, clone) in [(seed + 1, "a", Some("b")), (seed + 2, "b", Some("c")), (seed + 3, "c", None)] {
            let frozen = content.clone();
            if let Some(clone) = clone {
                let snapshot = format!("{name}@s");
                silt.run(&["snap", "create", &snapshot]).expect(0);
                silt.run(&["clone", &snapshot, clone]).expect(0);
                left.push((snapshot, frozen.clone()));
            }
            change(&silt, name, &mut content, seed);
            left.push((name.to_owned(), content));
            content = frozen;
        }
        if seed % 20 == 0 {
            // Into segments and runs; otherwise most is still in memory.
            daemon.stop().expect(0);
            daemon = Daemon::start(&silt, &[]);
        }
        for name in order {
            if seed % 20 == 0 && name != "c" {
                silt.run(&["snap", "rm", &format!("{name}@s")]).expect(0);
            }
            silt.run(&["rm", name, "--snapshots", "--now"]).expect(0);
            left.retain(|(one, _)| one != name && *one != format!("{name}@s"));
            for (name, content) in &left {
                assert_holds(&silt, name, content);
            }
        }
        assert!(left.is_empty());
    }
    daemon.stop().expect(0);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

/// Two volumes are written in turns while they are frozen together: no snapshot has a later write without the earlier.
#[test]
fn volumes_are_frozen_at_the_same_moment() {
    const SNAPSHOTS: u64 = 20;
    let scratch = Scratch::new("snapshots-atomic");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "a=1M", "--create", "b=1M"]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (a, b) = (connect(&silt, "a"), connect(&silt, "b"));
            for number in 1u64.. {
                let block = number.to_le_bytes().repeat(BLOCK_BYTES / 8);
                a.write(0, &block, false).unwrap();
                b.write(0, &block, false).unwrap();
                if done.load(Ordering::Acquire) {
                    return;
                }
            }
        });
        for number in 0..SNAPSHOTS {
            silt.run(&["snap", "create", &format!("a@{number}"), &format!("b@{number}")]).expect(0);
        }
        done.store(true, Ordering::Release);
    });
    // What was frozen is durable.
    daemon.kill();
    let daemon = Daemon::start(&silt, &[]);
    let written = |name: String| {
        let block = connect(&silt, &name).read(0, BLOCK_BYTES).unwrap();
        let number = block[..8].to_vec();
        assert!(block == number.repeat(BLOCK_BYTES / 8), "{name} is torn");
        u64::from_le_bytes(number.try_into().unwrap())
    };
    let mut before = 0;
    for number in 0..SNAPSHOTS {
        let (a, b) = (written(format!("a@{number}")), written(format!("b@{number}")));
        assert!(a == b || a == b + 1, "snapshot {number} has {a} in a and {b} in b");
        assert!(b >= before, "snapshot {number} is older than the one before");
        before = b;
    }
    assert!(before > SNAPSHOTS, "nothing was written meanwhile: {before}");
    daemon.stop().expect(0);
}

#[test]
fn snapshots_and_clones_outlive_a_killed_daemon() {
    let scratch = Scratch::new("snapshots-killed");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let mut demo = make(&silt, "demo", 1);
    let client = connect(&silt, "demo");
    for round in 0..3 {
        // Answered, and flushed by nobody but the snapshot.
        let block = random_bytes(100 + round, BLOCK_BYTES);
        client.write(round * 7 * BLOCK_BYTES as u64, &block, false).unwrap();
        demo[round as usize * 7 * BLOCK_BYTES..][..BLOCK_BYTES].copy_from_slice(&block);
        silt.run(&["snap", "create", &format!("demo@{round}")]).expect(0);
    }
    drop(client);
    let frozen = demo.clone();
    change(&silt, "demo", &mut demo, 2);
    silt.run(&["clone", "demo@2", "copy"]).expect(0);
    let mut copy = frozen.clone();
    change(&silt, "copy", &mut copy, 3);
    silt.run(&["snap", "rm", "demo@0"]).expect(0);
    silt.run(&["snap", "rename", "demo@1", "one"]).expect(0);
    daemon.kill();

    let list = ["demo@2", "demo@one"];
    let assert_all = |demo: &[u8]| {
        let mut found = silt.json(&["snap", "ls", "demo"]);
        found["snapshots"].as_array_mut().unwrap().sort_by_key(|one| one["name"].to_string());
        assert_eq!(names(&found["snapshots"]), list);
        assert_holds(&silt, "demo@2", &frozen);
        assert_holds(&silt, "copy", &copy);
        assert_holds(&silt, "demo", demo);
        assert_eq!(silt.json(&["info", "copy"])["origin"]["snapshot"], "demo@2");
    };
    // As a reader of the stopped store sees it, whose journal is still there, and as the next daemon does.
    assert_all(&demo);
    let daemon = Daemon::start(&silt, &[]);
    assert_all(&demo);
    silt.run(&["snap", "rollback", "demo@2"]).expect(0);
    daemon.kill();
    assert_all(&frozen);
    let daemon = Daemon::start(&silt, &[]);
    assert_all(&frozen);
    let mut demo = frozen.clone();
    change(&silt, "demo", &mut demo, 4);
    daemon.kill();
    let daemon = Daemon::start(&silt, &[]);
    assert_all(&demo);
    daemon.stop().expect(0);
    assert_all(&demo);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}
