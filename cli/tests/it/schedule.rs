//! Snapshots that the daemon makes by itself, and going back by time, end to end.

use std::time::Duration;

use serde_json::{Value, json};
use siltstone::store::clock::{Clock, SystemClock};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::snapshots::{BLOCK_BYTES, assert_holds, change, connect, make, names};

/// The snapshots of `demo` that the daemon made, from the oldest.
fn automatic(silt: &Silt) -> Vec<Value> {
    let mut found = silt.json(&["snap", "ls", "demo"]);
    let Value::Array(snapshots) = found["snapshots"].take() else { panic!("no list") };
    let is_automatic = |one: &Value| one["name"].as_str().unwrap().starts_with("demo@auto-20");
    snapshots.into_iter().filter(is_automatic).collect()
}

/// Writes to `demo` until so many automatic snapshots are there, and returns them.
fn write_until(silt: &Silt, count: usize) -> Vec<Value> {
    let client = connect(silt, "demo");
    for byte in 1_u8.. {
        client.write(0, &[byte; BLOCK_BYTES], false).unwrap();
        SystemClock::new().sleep(Duration::from_millis(200));
        let found = automatic(silt);
        if found.len() >= count {
            return found;
        }
        assert!(byte < 200, "{found:?}");
    }
    unreachable!("it ends earlier")
}

#[test]
fn a_daemon_follows_schedules_and_goes_on_after_it_was_killed() {
    let scratch = Scratch::new("schedules");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=1M"]);
    let set = silt.json(&["set", "demo", "snap-every=1s", "keep=1s:1h,1m:1d"]);
    let schedule = json!({ "every": "1s", "keep": "1s:1h,1m:1d" });
    assert_eq!(set["schedule"], schedule);
    write_until(&silt, 2);
    // What was written last is in one more, and then nothing has changed.
    SystemClock::new().sleep(Duration::from_millis(2200));
    let before = automatic(&silt);
    SystemClock::new().sleep(Duration::from_millis(2200));
    assert_eq!(automatic(&silt), before);
    daemon.kill();

    assert_eq!(silt.json(&["info", "demo"])["schedule"], schedule);
    let text = silt.run(&["info", "demo"]).expect(0).text();
    assert!(text.contains("every 1s, kept 1s:1h,1m:1d"), "{text}");
    let daemon = Daemon::start(&silt, &[]);
    let found = write_until(&silt, before.len() + 2);
    assert_eq!(found[..before.len()], before);
    // Of these few seconds one is left, or two if a new minute began, and the newest.
    silt.run(&["set", "demo", "snap-every=1m", "keep=1m:1h"]).expect(0);
    assert_eq!(silt.json(&["info", "demo"])["schedule"], json!({ "every": "1m", "keep": "1m:1h" }));
    let thinned = (0..100).any(|_| {
        SystemClock::new().sleep(Duration::from_millis(100));
        automatic(&silt).len() <= 3
    });
    assert!(thinned, "{:?}", automatic(&silt));
    silt.run(&["set", "demo", "snap-every=off"]).expect(0);
    assert_eq!(silt.json(&["info", "demo"])["schedule"], Value::Null);
    assert!(!automatic(&silt).is_empty(), "what was made stays");
    daemon.stop().expect(0);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let scratch = Scratch::new("settings");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["create", "demo", "--size", "1M"]).expect(0);
    let refusals: [(&[&str], i32, &str); 12] = [
        (&["set", "demo"], 2, "required"),
        (&["set", "demo", "snap-every"], 2, "a setting is snap-every=TIME"),
        (&["set", "demo", "color=red"], 2, "a setting is snap-every=TIME"),
        (&["set", "demo", "snap-every=10s"], 2, "say what to keep as well"),
        (&["set", "demo", "keep=1m:1h"], 2, "say how often as well"),
        (&["set", "demo", "snap-every=10", "keep=1m:1h"], 2, "write a whole number with s, m, h, d or w"),
        (&["set", "demo", "snap-every=10s", "keep=1h"], 2, "write STEP:REACH"),
        (&["set", "demo", "snap-every=10s", "keep=1s:1h"], 2, "more than one snapshot every 10s"),
        (&["set", "demo", "snap-every=1s", "keep=1s:1d"], 2, "keep 86400 snapshots"),
        (&["set", "demo", "snap-every=off", "keep=1m:1h"], 2, "keeps nothing"),
        (&["set", "nobody", "snap-every=off"], 10, "no volume is named nobody"),
        (&["set", "demo@s", "snap-every=off"], 2, "names a snapshot"),
    ];
    for (verb, code, message) in refusals {
        let refused = silt.run(verb).expect(code);
        assert!(refused.stderr.contains(message), "{verb:?}: {}", refused.stderr);
    }
    assert_eq!(silt.json(&["info", "demo"])["schedule"], Value::Null);
}

fn go_back(silt: &Silt) {
    let base = make(silt, "demo", 1);
    let base_time = silt.json(&["snap", "create", "demo@base"])["snapshots"][0]["created"].clone();
    let base_time = base_time.as_str().unwrap();
    let mut later = base.clone();
    change(silt, "demo", &mut later, 2);
    silt.run(&["snap", "create", "demo@later"]).expect(0);
    let mut demo = later.clone();
    change(silt, "demo", &mut demo, 3);

    let cloned = silt.json(&["rewind", "demo", "--to", base_time, "--as", "copy"]);
    assert_eq!((&cloned["to"], &cloned["before"]), (&json!("demo@base"), &Value::Null));
    assert_holds(silt, "copy", &base);
    assert_holds(silt, "demo", &demo);
    let rewound = silt.json(&["rewind", "demo", "--to", base_time]);
    assert_eq!((&rewound["to"], &rewound["volume"]["name"]), (&json!("demo@base"), &json!("demo")));
    assert_holds(silt, "demo", &base);
    let before = rewound["before"].as_str().unwrap();
    assert!(before.starts_with("demo@rewind-20"), "{before}");
    assert_holds(silt, before, &demo);
    // Not long enough ago for what the rewind made.
    SystemClock::new().sleep(Duration::from_millis(1100));
    let text = silt.run(&["rewind", "demo", "--ago", "1s"]).expect(0).text();
    assert!(text.contains(&format!("put demo back to {before}; demo@rewind-20")), "{text}");
    assert_holds(silt, "demo", &demo);

    let refusals: [(&[&str], i32, &str); 7] = [
        (&["rewind", "demo", "--ago", "52w"], 10, "volume demo has no snapshot from that time or before"),
        (&["rewind", "copy", "--ago", "1s"], 10, "volume copy has no snapshot from that time or before"),
        (&["rewind", "nobody", "--ago", "1s"], 10, "no volume is named nobody"),
        (&["rewind", "demo"], 2, "required"),
        (&["rewind", "demo", "--ago", "1s", "--to", base_time], 2, "cannot be used with"),
        (&["rewind", "demo", "--to", "yesterday"], 2, "invalid value"),
        (&["rewind", "demo", "--ago", "1s", "--as", "copy"], 1, "a volume named copy exists"),
    ];
    for (verb, code, message) in refusals {
        let refused = silt.run(verb).expect(code);
        assert!(refused.stderr.contains(message), "{verb:?}: {}", refused.stderr);
    }
}

#[test]
fn volumes_go_back_without_a_daemon() {
    let scratch = Scratch::new("rewind-stopped");
    let silt = Silt::new(&scratch.join("data"));
    go_back(&silt);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn volumes_go_back_with_a_daemon_but_not_under_a_client() {
    let scratch = Scratch::new("rewind-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    go_back(&silt);
    let client = connect(&silt, "demo");
    let before = names(&silt.json(&["snap", "ls"])["snapshots"]).len();
    let refused = silt.run(&["rewind", "demo", "--ago", "1s"]).expect(11);
    assert!(refused.stderr.contains("volume demo is in use by 1 connections"), "{}", refused.stderr);
    assert_eq!(names(&silt.json(&["snap", "ls"])["snapshots"]).len(), before, "nothing was made");
    silt.run(&["rewind", "demo", "--ago", "1s", "--as", "another"]).expect(0);
    drop(client);
    daemon.stop().expect(0);
}
