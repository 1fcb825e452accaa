//! `silt scrub` finds damage under a running daemon, names what it touches, and knows when it is gone.

use serde_json::{Value, json};
use siltstone::store::clock::{Clock, SystemClock};

use crate::check::{damage, only_file};
use crate::daemon::Daemon;
use crate::load::random_bytes;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::snapshots::connect;

const BLOCK_BYTES: u64 = 4096;

/// A stopped store with a volume of 1 MiB, of which a byte in a frame of its only segment is another than it was.
fn rotten(scratch: &Scratch) -> Silt {
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &random_bytes(1, 1 << 20)).expect(0);
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    let segment = only_file(&silt, "segments");
    silt.run_with_input(&["import", "-", "other"], &random_bytes(2, 1 << 20)).expect(0);
    damage(&segment, segment.metadata().unwrap().len() / 2);
    silt
}

/// The ranges that the only damaged place touches, by name.
fn touched(scrub: &Value) -> Vec<(String, u64, u64)> {
    let damage = scrub["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 1, "{scrub}");
    let range = |range: &Value| {
        let number = |field: &str| range[field].as_u64().unwrap();
        (range["name"].as_str().unwrap().to_owned(), number("offset"), number("length"))
    };
    damage[0]["touched"].as_array().unwrap().iter().map(range).collect()
}

#[test]
fn a_daemon_finds_rot_tells_whom_it_touches_and_when_it_is_gone() {
    let scratch = Scratch::new("scrub-daemon");
    let silt = rotten(&scratch);
    let daemon = Daemon::start(&silt, &[]);
    let found = silt.run(&["scrub", "--rate", "1G", "--json"]).expect(3).json();
    let touches = touched(&found);
    let names: Vec<_> = touches.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["demo", "demo@s"], "{found}");
    let (_, offset, length) = touches[0].clone();
    assert_eq!((length, &found["state"], found["completed"].is_string()), (BLOCK_BYTES, &json!("idle"), true));

    let status = silt.run(&["status"]).expect(0).text();
    assert!(status.contains("1 damaged place") && status.contains(&format!("demo {offset}+{length}")), "{status}");
    assert_eq!(silt.json(&["status"])["scrub"]["damage"], found["damage"]);
    let volume = silt.run(&["scrub", "demo", "--snapshots", "--json"]).expect(3).json();
    let volumes = volume["volumes"].as_array().unwrap();
    assert_eq!((&volumes[0]["name"], &volumes[1]["name"]), (&json!("demo"), &json!("demo@s")));
    for one in volumes {
        assert_eq!((&one["blocks_good"], &one["blocks_damaged"]), (&json!(255), &json!(1)), "{volume}");
        assert_eq!((&one["damage"][0]["offset"], &one["damage"][0]["length"]), (&json!(offset), &json!(length)));
    }
    let text = silt.run(&["scrub", "other"]).expect(0).text();
    assert_eq!(text, "other: no damage found, 256 blocks match their fingerprints\n");

    // It is known after a restart as well, and gone once it is overwritten and collected.
    daemon.stop().expect(0);
    assert_eq!(silt.run(&["scrub", "--status", "--json"]).expect(3).json()["damage"].as_array().unwrap().len(), 1);
    let daemon = Daemon::start(&silt, &[]);
    silt.run(&["snap", "rm", "demo@s"]).expect(0);
    let client = connect(&silt, "demo");
    client.write(0, &random_bytes(3, 1 << 20), false).unwrap();
    drop(client);
    daemon.stop().expect(0);
    let _daemon = Daemon::start(&silt, &[]);
    silt.run(&["gc", "--now"]).expect(0);
    let after = silt.json(&["scrub"]);
    assert_eq!((&after["damage"], &after["damage_gone_total"]), (&json!([]), &json!(1)));
}

#[test]
fn a_scrub_can_be_left_alone_paused_and_resumed() {
    let scratch = Scratch::new("scrub-pause");
    let silt = rotten(&scratch);
    let daemon = Daemon::start(&silt, &[]);
    let begun = silt.json(&["scrub", "--no-wait", "--rate", "64K"]);
    assert_eq!(begun["state"], "running");
    let paused = silt.json(&["scrub", "--pause"]);
    assert_eq!((&paused["state"], &paused["rate_bytes"]), (&json!("paused"), &json!(64 << 10)));
    daemon.kill();
    assert_eq!(silt.json(&["scrub", "--status"])["state"], "paused");
    let _daemon = Daemon::start(&silt, &[]);
    assert_eq!(silt.json(&["scrub", "--status"])["state"], "paused");
    silt.json(&["scrub", "--resume", "--rate", "1G"]);
    let found = silt.run(&["scrub", "--json"]).expect(3).json();
    assert_eq!((&found["state"], found["damage"].as_array().unwrap().len()), (&json!("idle"), 1));
}

#[test]
fn a_read_that_meets_damage_puts_it_on_the_list() {
    let scratch = Scratch::new("scrub-read");
    let silt = rotten(&scratch);
    let _daemon = Daemon::start(&silt, &[]);
    assert_eq!(silt.json(&["scrub", "--status"])["damage"], json!([]));
    silt.run(&["export", "demo", "-"]).expect(3);
    for _ in 0..100 {
        let status = silt.run(&["scrub", "--status", "--json"]).json();
        if status["damage"][0]["touched"].is_array() {
            assert_eq!(touched(&status).len(), 2);
            return;
        }
        SystemClock::new().sleep(std::time::Duration::from_millis(100));
    }
    panic!("it is not looked at");
}

#[test]
fn a_stopped_store_is_scrubbed_by_the_command_itself() {
    let scratch = Scratch::new("scrub-stopped");
    let silt = rotten(&scratch);
    silt.run(&["scrub", "--no-wait"]).expect(1);
    let found = silt.run(&["scrub", "--rate", "1G", "--every", "60d", "--status"]).expect(0).text();
    assert!(found.contains("every 60d") && found.contains("no damage known"), "{found}");
    let found = silt.run(&["scrub"]).expect(3).text();
    assert!(found.contains("a frame is damaged") && found.contains("demo@s"), "{found}");
    silt.run(&["scrub", "demo@s"]).expect(3);
    silt.run(&["scrub", "missing"]).expect(10);
    silt.run(&["scrub", "--rate", "1"]).expect(2);
    silt.run(&["scrub", "--every", "never"]).expect(2);
    assert_eq!(silt.run(&["scrub", "--every", "off", "--json"]).expect(3).json()["every"], Value::Null);
}
