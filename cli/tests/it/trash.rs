//! The trash, end to end: with a daemon, without one, and after one that was killed.

use std::time::Duration;

use serde_json::{Value, json};
use siltstone::store::clock::{Clock, SystemClock};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::snapshots::{assert_holds, change, connect, make, names};

fn trash(silt: &Silt) -> Value {
    silt.json(&["trash", "ls"])["trash"].clone()
}

fn live(silt: &Silt) {
    let base = make(silt, "demo", 1);
    silt.run(&["snap", "create", "demo@base"]).expect(0);
    let mut demo = base.clone();
    change(silt, "demo", &mut demo, 2);
    silt.run(&["clone", "demo@base", "copy"]).expect(0);
    silt.run(&["rm", "demo"]).expect(2);
    let removed = silt.json(&["rm", "demo", "--snapshots"]);
    assert_eq!((&removed["removed"], &removed["trash"][0]["snapshots"]), (&json!(["demo"]), &json!(1)));
    for verb in [&["info", "demo"][..], &["info", "demo@base"], &["rm", "demo"]] {
        silt.run(verb).expect(10);
    }
    assert_eq!(silt.json(&["snap", "ls"]), json!({ "snapshots": [] }));
    assert_eq!(silt.json(&["info", "copy"])["origin"]["volume"], Value::Null);
    assert_holds(silt, "copy", &base);

    // The name is free, and what has it now can go to the same place.
    silt.run(&["create", "demo", "--size", "1M"]).expect(0);
    silt.run(&["snap", "create", "demo@base"]).expect(0);
    silt.run(&["rm", "demo", "--snapshots", "--keep", "12h"]).expect(0);
    assert_eq!(names(&trash(silt)), ["demo", "demo"]);
    let status = silt.json(&["status"]);
    assert_eq!((&status["trash"], &status["volumes"]), (&json!(2), &json!(1)));
    assert_eq!(status["trash_size_bytes"], base.len() + (1 << 20));
    let table = silt.run(&["trash", "ls"]).expect(0).text();
    assert!(table.starts_with("NAME") && table.lines().count() == 3, "{table}");

    let refused = silt.run(&["trash", "restore", "demo"]).expect(2);
    assert!(refused.stderr.contains("2 volumes in the trash were named demo"), "{}", refused.stderr);
    let id = trash(silt)[0]["id"].to_string();
    silt.run(&["create", "demo", "--size", "1M"]).expect(0);
    let taken = silt.run(&["trash", "restore", "demo", "--id", &id]).expect(1);
    assert!(taken.stderr.contains("a volume named demo exists"), "{}", taken.stderr);
    silt.run(&["trash", "restore", "demo", "--id", &id, "--as", "back"]).expect(0);
    assert_holds(silt, "back", &demo);
    assert_holds(silt, "back@base", &base);
    assert_eq!(silt.json(&["info", "copy"])["origin"]["snapshot"], "back@base");
    change(silt, "back", &mut demo, 3);
    assert_holds(silt, "back", &demo);

    // Not the small one's time yet.
    assert_eq!(silt.json(&["trash", "purge", "--expired"]), json!({ "purged": [] }));
    assert_eq!(names(&silt.json(&["trash", "purge", "demo"])["purged"]), ["demo"]);
    silt.run(&["rm", "demo", "--now"]).expect(0);
    assert_eq!(trash(silt), json!([]));
    silt.run(&["rm", "back", "copy", "--snapshots"]).expect(0);
    assert_eq!(names(&silt.json(&["trash", "purge", "--all"])["purged"]), ["back", "copy"]);

    let refusals: [(&[&str], i32, &str); 8] = [
        (&["trash", "restore", "demo"], 10, "no volume in the trash was named demo"),
        (&["trash", "purge", "demo"], 10, "no volume in the trash was named demo"),
        (&["trash", "purge", "demo", "--id", "1"], 10, "no volume in the trash was named demo"),
        (&["trash", "purge"], 2, "required"),
        (&["trash", "purge", "--all", "--expired"], 2, "cannot be used with"),
        (&["rm", "demo", "--keep", "1y"], 2, "whole number with s, m, h, d or w"),
        (&["rm", "demo", "--keep", "1d", "--now"], 2, "cannot be used with"),
        (&["trash", "restore", "demo@base"], 2, "names a snapshot"),
    ];
    for (verb, code, message) in refusals {
        let refused = silt.run(verb).expect(code);
        assert!(refused.stderr.contains(message), "{verb:?}: {}", refused.stderr);
    }
}

#[test]
fn volumes_come_back_without_a_daemon() {
    let scratch = Scratch::new("trash-stopped");
    let silt = Silt::new(&scratch.join("data"));
    live(&silt);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn volumes_come_back_with_a_daemon() {
    let scratch = Scratch::new("trash-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    live(&silt);
    daemon.stop().expect(0);
}

#[test]
fn the_trash_outlives_a_killed_daemon_and_a_daemon_empties_it() {
    let scratch = Scratch::new("trash-killed");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "short=1M"]);
    let demo = make(&silt, "demo", 1);
    silt.run(&["snap", "create", "demo@s", "short@s"]).expect(0);
    let client = connect(&silt, "demo@s");
    silt.run(&["rm", "demo", "--snapshots"]).expect(11);
    assert_eq!(trash(&silt), json!([]));
    drop(client);
    while silt.json(&["info", "demo@s"])["connections"] != 0 {
        std::thread::yield_now();
    }
    silt.run(&["rm", "demo", "--snapshots"]).expect(0);
    daemon.kill();
    // On a stopped store nothing goes by itself.
    silt.run(&["rm", "short", "--snapshots", "--keep", "1s"]).expect(0);
    SystemClock::new().sleep(Duration::from_millis(1100));
    assert_eq!(names(&trash(&silt)), ["demo", "short"]);
    let daemon = Daemon::start(&silt, &[]);
    while silt.json(&["status"])["trash"] != 1 {
        std::thread::yield_now();
    }
    silt.run(&["trash", "restore", "demo"]).expect(0);
    assert_holds(&silt, "demo", &demo);
    assert_holds(&silt, "demo@s", &demo);
    daemon.stop().expect(0);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}
