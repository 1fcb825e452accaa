//! Replicated volumes by the real command, on three daemons.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use siltstone::frontend::nbd::client::Client;
use siltstone::store::clock::{Clock, SystemClock};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::snapshots::{BLOCK_BYTES, connect, names};

mod receive;

/// A cluster of three.
struct Three {
    silts: Vec<Silt>,
    daemons: Vec<Daemon>,
}

impl Three {
    fn new(scratch: &Scratch) -> Self {
        let silts: Vec<_> = (1..=3).map(|number| Silt::new(&scratch.join(&format!("n{number}")))).collect();
        let listen = ["--listen", "127.0.0.1:0"];
        let mut daemons = vec![Daemon::start(&silts[0], &listen)];
        silts[0].run(&["cluster", "init", "--name", "n1"]).expect(0);
        for (silt, name) in silts[1..].iter().zip(["n2", "n3"]) {
            let token = silts[0].run(&["cluster", "token"]).expect(0).text();
            let join = ["--join", token.trim(), "--node-name", name];
            daemons.push(Daemon::start(silt, &[&listen[..], &join[..]].concat()));
        }
        Self { silts, daemons }
    }

    fn stop(self) {
        self.daemons.into_iter().for_each(|daemon| drop(daemon.stop().expect(0)));
    }
}

/// Fills a block of a volume with a byte, by a client of this node.
fn fill(silt: &Silt, volume: &str, block: usize, byte: u8) {
    let client = connect(silt, volume);
    client.write((block * BLOCK_BYTES) as u64, &[byte; BLOCK_BYTES], true).unwrap();
    // Nothing at all is written, and that is answered too.
    client.write(0, &[], true).unwrap();
    client.disconnect();
    drop(client);
    wait_until("the daemon notices that the client is gone", || silt.json(&["info", volume])["connections"] == 0);
}

/// Waits until something is so, for a minute.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let clock = SystemClock::new();
    while !is_so() {
        assert!(clock.monotonic() < Duration::from_secs(60), "waited for a minute: {what}");
        clock.sleep(Duration::from_millis(20));
    }
}

fn first_byte(silt: &Silt, name: &str) -> u8 {
    connect(silt, name).read(0, 1).unwrap()[0]
}

#[test]
fn every_command_works_against_any_node() {
    let scratch = Scratch::new("replicated");
    let three = Three::new(&scratch);
    let [one, two, other] = &three.silts[..] else { panic!("three") };
    one.run(&["create", "vm", "--size", "1M", "--replicas", "3"]).expect(0);
    fill(two, "vm", 0, 1);
    other.run(&["snap", "create", "vm@base"]).expect(0);
    fill(one, "vm", 3, 2);

    let diff = two.json(&["diff", "vm@base", "vm"]);
    assert_eq!(diff["extents"], json!([{ "offset": 3 * BLOCK_BYTES, "length": BLOCK_BYTES }]));

    let copy = other.json(&["clone", "vm@base", "copy"]);
    assert_eq!((&copy["origin"]["volume"], &copy["state"]), (&json!("vm"), &json!("ready")));
    fill(two, "copy", 0, 9);
    assert_eq!((first_byte(one, "copy"), first_byte(other, "vm")), (9, 1));
    assert_eq!(names(&one.json(&["children", "vm"])["volumes"]), ["copy"]);
    two.run(&["create", "local", "--size", "1M"]).expect(0);
    let taken = two.run(&["clone", "vm", "local"]).expect(1);
    assert!(taken.stderr.contains("local"), "{}", taken.stderr);

    one.run(&["snap", "rename", "vm@base", "first"]).expect(0);
    assert_eq!(names(&two.json(&["snap", "ls", "vm"])["snapshots"]), ["vm@first"]);
    wait_until("the node's own replica has the name too", || other.run(&["du", "vm@first"]).code == 0);
    let usage = other.json(&["du", "vm", "vm@first"]);
    assert_eq!(names(&usage["volumes"]), ["vm", "vm@first"]);
    assert_eq!(usage["volumes"][0]["size_bytes"], 1 << 20);

    let set = two.json(&["set", "copy", "snap-every=1h", "keep=1h:1d"]);
    assert_eq!(set["schedule"], json!({ "every": "1h", "keep": "1h:1d" }));
    let rewound = one.json(&["rewind", "vm", "--to", "2100-01-01T00:00:00Z", "--as", "early"]);
    assert_eq!(rewound["to"], "vm@first");
    assert_eq!(other.json(&["info", "early"])["name"], "early");

    one.run(&["rm", "vm"]).expect(2);
    other.run(&["rm", "vm", "--snapshots"]).expect(0);
    assert_eq!(names(&two.json(&["trash", "ls"])["trash"]), ["vm"]);
    assert_eq!(two.json(&["info", "copy"])["origin"]["volume"], Value::Null);
    two.run(&["trash", "restore", "vm"]).expect(0);
    assert_eq!(first_byte(one, "vm"), 1);
    other.run(&["rm", "copy", "early", "--snapshots"]).expect(0);
    assert_eq!(one.json(&["trash", "purge", "--all"])["purged"].as_array().map(Vec::len), Some(2));
    three.stop();
}

#[test]
fn snapshots_of_replicated_volumes_are_sent_by_whoever_holds_them() {
    let scratch = Scratch::new("replicated-send");
    let three = Three::new(&scratch);
    let silts = &three.silts;
    silts[0].run(&["create", "vm", "--size", "1M", "--replicas", "2"]).expect(0);
    fill(&silts[0], "vm", 0, 1);
    silts[1].run(&["snap", "create", "vm@mon"]).expect(0);
    fill(&silts[1], "vm", 3, 2);
    silts[2].run(&["snap", "create", "vm@tue"]).expect(0);
    let info = silts[0].json(&["info", "vm"]);
    let nodes: Vec<_> = info["replication"]["replicas"].as_array().unwrap().iter().map(|it| &it["node_name"]).collect();
    let (holders, others): (Vec<_>, Vec<_>) =
        (1..).zip(silts).partition(|(number, _)| nodes.contains(&&json!(format!("n{number}"))));
    let [(_, one), (_, two)] = holders[..] else { panic!("two hold it") };
    let [(_, other)] = others[..] else { panic!("one does not") };

    let full = one.run(&["send", "vm@mon"]).expect(0).stdout;
    other.run_with_input(&["recv", "copy"], &full).expect(0);
    let changes = two.run(&["send", "--from", "vm@mon", "vm@tue"]).expect(0).stdout;
    assert!(changes.len() < full.len() + 1000, "{} bytes", changes.len());
    other.run_with_input(&["recv", "copy"], &changes).expect(0);
    let root = |silt: &Silt, name: &str| silt.json(&["verify", name])["root"].clone();
    for snapshot in ["mon", "tue"] {
        let of = |volume: &str| format!("{volume}@{snapshot}");
        assert_eq!(root(one, &of("vm")), root(other, &of("copy")));
        assert_eq!(root(one, &of("vm")), root(two, &of("vm")));
    }

    // Back into the cluster: what a stream brings, all nodes serve, and the members hold it to the last block.
    let received = other.run_with_input(&["recv", "back", "--replicas", "2", "--json"], &full).expect(0).json();
    assert_eq!((&received["name"], &received["root"]), (&json!("back@mon"), &root(one, "vm@mon")));
    assert_eq!(one.json(&["info", "back"])["replication"]["replicas_wanted"], 2);
    for silt in silts {
        assert_eq!(names(&silt.json(&["snap", "ls", "back"])["snapshots"]), ["back@mon"]);
        assert!(
            silt.run(&["export", "back", "-"]).expect(0).stdout
                == silt.run(&["export", "vm@mon", "-"]).expect(0).stdout
        );
    }
    let proved = silts.iter().filter(|silt| silt.run(&["verify", "back@mon"]).code == 0).collect::<Vec<_>>();
    assert!(proved.len() == 2 && proved.iter().all(|silt| root(silt, "back@mon") == received["root"]));
    let based = two.run_with_input(&["recv", "based", "--replicas", "2"], &changes).expect(1);
    assert!(based.stderr.contains("send it without --from"), "{}", based.stderr);
    two.run_with_input(&["recv", "torn", "--replicas", "2"], &full[..full.len() / 2]).expect(3);
    for name in ["based", "torn"] {
        assert_eq!(one.run(&["info", name]).code, 10);
    }

    let via = crate::transfer::via(other, "again");
    let sent = two.json(&["send", "--via", &via, "vm@tue"]);
    assert_eq!((&sent["root"], &root(other, "again")), (&root(one, "vm@tue"), &root(one, "vm@tue")));

    let elsewhere = other.run(&["send", "vm@mon"]).expect(1);
    assert!(elsewhere.stderr.contains("this node does not hold vm@mon"), "{}", elsewhere.stderr);
    one.run(&["send", "vm@wed"]).expect(10);
    one.run(&["send", "--from", "vm@wed", "vm@tue"]).expect(10);
    let alive = one.run(&["verify", "vm"]).expect(1);
    assert!(alive.stderr.contains("make a snapshot"), "{}", alive.stderr);
    three.stop();
}

#[test]
fn an_image_becomes_a_replicated_volume_that_is_whole_or_not_there() {
    let scratch = Scratch::new("replicated-import");
    let three = Three::new(&scratch);
    let [one, two, other] = &three.silts[..] else { panic!("three") };
    let image = [crate::transfer::noise(7, 3 << 20), vec![0; 1 << 20], crate::transfer::noise(8, 777)].concat();
    let import = ["import", "-", "vm", "--replicas", "2"];
    let imported = one.run_with_input(&[&import[..], &["--json"]].concat(), &image).expect(0).json();
    assert_eq!((&imported["name"], &imported["size_bytes"]), (&json!("vm"), &json!(image.len())));
    for silt in &three.silts {
        assert!(silt.run(&["export", "vm", "-"]).expect(0).stdout == image);
    }
    assert_eq!(two.json(&["info", "vm"])["replication"]["replicas_wanted"], 2);
    assert_eq!(other.json(&["info", "vm"])["size_bytes"], image.len());
    two.run_with_input(&import, &image).expect(1);
    two.run(&["create", "own", "--size", "1M"]).expect(0);
    two.run_with_input(&["import", "-", "own", "--replicas", "2"], &image).expect(1);

    // Whoever brings it ends before it is complete.
    let mut command = one.command(&["import", "-", "broken", "--replicas", "2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut bringing = command.spawn().unwrap();
    bringing.stdin.as_mut().unwrap().write_all(&image).unwrap();
    wait_until("it has begun", || other.run(&["info", "broken"]).code == 0);
    assert_eq!(other.json(&["info", "broken"])["state"], "importing");
    bringing.kill().unwrap();
    bringing.wait().unwrap();
    wait_until("it is gone", || two.run(&["info", "broken"]).code == 10);
    three.stop();
}

/// Writes a block by a client of this node; false if there is no room.
fn lets_in(silt: &Silt, volume: &str, block: usize) -> bool {
    let client = connect(silt, volume);
    let written = client.write((block * BLOCK_BYTES) as u64, &[7; BLOCK_BYTES], true);
    client.disconnect();
    written.inspect_err(|error| assert_eq!(error.errno().0, 28, "ENOSPC")).is_ok()
}

#[test]
fn a_quota_of_a_replicated_volume_holds_at_every_node_and_outlives_its_primary() {
    let scratch = Scratch::new("replicated-quota");
    let mut three = Three::new(&scratch);
    let [one, two, other] = &three.silts[..] else { panic!("three") };
    let made = one.json(&["create", "vm", "--size", "1M", "--replicas", "3", "--quota", "32K"]);
    assert_eq!(made["quota_bytes"], 32 << 10);
    assert!((0..8).all(|block| lets_in([one, two, other][block % 3], "vm", block)));
    for silt in [one, two, other] {
        assert!(!lets_in(silt, "vm", 8) && lets_in(silt, "vm", 7));
        assert_eq!(silt.json(&["info", "vm"])["quota_bytes"], 32 << 10);
    }
    let nonsense = two.run(&["set", "vm", "quota=1K", "reserve=2K"]).expect(2);
    assert!(nonsense.stderr.contains("at least the reservation"), "{}", nonsense.stderr);
    let set = other.json(&["set", "vm", "quota=36K", "snap-every=1h", "keep=1h:1d"]);
    assert_eq!((&set["quota_bytes"], &set["schedule"]["every"]), (&json!(36 << 10), &json!("1h")));
    wait_until("the primary has heard of it", || lets_in(two, "vm", 8));
    assert_eq!(two.json(&["clone", "vm", "copy"])["quota_bytes"], Value::Null);
    wait_until("nobody has it open", || three.silts.iter().all(|it| it.json(&["info", "vm"])["connections"] == 0));
    two.run(&["rm", "vm", "--snapshots"]).expect(0);
    one.run(&["trash", "restore", "vm"]).expect(0);
    assert!(!lets_in(one, "vm", 9));

    let info = other.json(&["info", "vm"]);
    let replicas = info["replication"]["replicas"].as_array().unwrap();
    let primary = replicas.iter().find(|replica| replica["role"] == "primary").unwrap();
    let number = primary["node_name"].as_str().unwrap()[1..].parse::<usize>().unwrap();
    three.daemons.remove(number - 1).kill();
    let killed = three.silts.remove(number - 1);
    let left = &three.silts;
    assert!(!lets_in(&left[0], "vm", 9) && lets_in(&left[1], "vm", 0), "the next primary keeps it");
    three.daemons.push(Daemon::start(&killed, &[]));
    wait_until("it is back", || killed.json(&["info", "vm"])["replication"]["health"] == "healthy");
    assert!(!lets_in(&killed, "vm", 9));
    killed.run(&["set", "vm", "quota=none"]).expect(0);
    wait_until("without a quota there is none", || lets_in(&killed, "vm", 9));
    three.stop();
}

#[test]
fn every_node_with_a_replica_keeps_what_is_reserved_for_it() {
    let scratch = Scratch::new("replicated-reserve");
    let three = Three::new(&scratch);
    let [one, two, other] = &three.silts[..] else { panic!("three") };
    let made = one.json(&["create", "vm", "--size", "8M", "--replicas", "3", "--reserve", "2M"]);
    assert_eq!(made["reserve_bytes"], 2 << 20);
    let reserved = |silt: &Silt| silt.json(&["status"])["space"]["reserved_bytes"].as_u64().unwrap();
    wait_until("all keep it", || three.silts.iter().all(|silt| reserved(silt) == 2 << 20));
    fill(two, "vm", 0, 1);
    let text = other.run(&["info", "vm"]).expect(0).text();
    assert!(text.contains("reserved") && text.contains("2 MiB"), "{text}");
    let too_much = two.run(&["set", "vm", "reserve=16M"]).expect(2);
    assert!(too_much.stderr.contains("volume's size"), "{}", too_much.stderr);
    one.run(&["rm", "vm"]).expect(0);
    wait_until("in the trash nothing is reserved", || three.silts.iter().all(|silt| reserved(silt) == 0));
    other.run(&["trash", "restore", "vm"]).expect(0);
    wait_until("what is restored has it again", || three.silts.iter().all(|silt| reserved(silt) > 0));
    two.run(&["set", "vm", "reserve=none"]).expect(0);
    wait_until("without a reservation there is none", || three.silts.iter().all(|silt| reserved(silt) == 0));
    three.stop();
}

/// Counts, each number into one volume, and when that was answered into another, until told to stop.
fn count(one: &Client, other: &Client, is_over: &AtomicBool) -> u64 {
    let mut count = 0u64;
    while !is_over.load(Ordering::Relaxed) {
        count += 1;
        [one, other].iter().for_each(|client| client.write(0, &count.to_le_bytes(), false).unwrap());
    }
    count
}

fn counted(silt: &Silt, name: &str) -> u64 {
    u64::from_le_bytes(connect(silt, name).read(0, 8).unwrap().try_into().unwrap())
}

#[test]
fn several_replicated_volumes_are_frozen_at_one_moment() {
    let scratch = Scratch::new("replicated-together");
    let three = Three::new(&scratch);
    let [one, two, other] = &three.silts[..] else { panic!("three") };
    one.run(&["create", "db", "--size", "1M", "--replicas", "3"]).expect(0);
    two.run(&["create", "wal", "--size", "1M", "--replicas", "2"]).expect(0);
    let (db, wal) = (connect(one, "db"), connect(two, "wal"));
    let is_over = AtomicBool::new(false);
    let last = thread::scope(|scope| {
        let counting = scope.spawn(|| count(&wal, &db, &is_over));
        for (number, silt) in (0..12).zip([one, two, other].into_iter().cycle()) {
            let (db, wal) = (format!("db@{number}"), format!("wal@{number}"));
            let made = silt.json(&["snap", "create", &db, &wal]);
            assert_eq!(names(&made["snapshots"]), [&*db, &*wal]);
        }
        is_over.store(true, Ordering::Relaxed);
        counting.join().unwrap()
    });
    assert!(last > 12, "it was written to all the time");
    for number in 0..12 {
        let (wal, db) = (counted(other, &format!("wal@{number}")), counted(other, &format!("db@{number}")));
        assert!(wal == db || wal == db + 1, "{wal} and {db} of {last}");
    }

    let taken = one.run(&["snap", "create", "wal@new", "db@3"]).expect(1);
    assert!(taken.stderr.contains("db has a snapshot named 3"), "{}", taken.stderr);
    other.run(&["create", "own", "--size", "1M"]).expect(0);
    let mixed = other.run(&["snap", "create", "db@new", "own@new"]).expect(1);
    assert!(mixed.stderr.contains("own is of this node alone and db is replicated"), "{}", mixed.stderr);
    other.run(&["snap", "create", "db@new", "none@new"]).expect(10);
    other.run(&["snap", "create", "db@new", "db@newer"]).expect(2);
    for volume in ["db", "wal"] {
        assert_eq!(two.json(&["snap", "ls", volume])["snapshots"].as_array().map(Vec::len), Some(12));
    }
    three.stop();
}
