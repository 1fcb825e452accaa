//! `silt events` of a node in no cluster: what happened is told, and still known after a restart.

use std::time::Duration;

use serde_json::Value;
use siltstone::store::clock::{Clock, SystemClock};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

fn events(silt: &Silt) -> Vec<Value> {
    silt.json(&["events"])["events"].as_array().unwrap().clone()
}

#[test]
fn what_happened_is_known_after_a_restart() {
    let scratch = Scratch::new("events");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["events"]).expect(10);
    let daemon = Daemon::start(&silt, &["--create", "demo=1G"]);
    assert_eq!(silt.run(&["events"]).expect(0).text(), "", "nothing has happened yet");
    // The first look only tells what there is to compare with, and it may be the scrub's end already: one of two is told.
    let clock = SystemClock::new();
    while events(&silt).is_empty() {
        assert!(clock.monotonic() < Duration::from_secs(60), "a scrub's end is told");
        silt.run(&["scrub", "--rate", "1G"]).expect(0);
        clock.sleep(Duration::from_millis(200));
    }
    let event = events(&silt).remove(0);
    assert_eq!((&event["kind"], &event["node"], &event["subject"]), (&"scrub_done".into(), &Value::Null, &"".into()));
    assert_eq!(event["text"], "a scrub went to its end: there is no damage");
    daemon.stop().expect(0);
    assert_eq!(events(&silt)[0], event, "a stopped node tells too");
    let text = silt.run(&["events", "--since", "1h"]).expect(0).text();
    assert!(text.starts_with("TIME") && text.contains("scrub_done"), "{text}");
    let daemon = Daemon::start(&silt, &[]);
    assert_eq!(events(&silt)[0], event);
    silt.run(&["events", "--since", "soon"]).expect(2);
    daemon.stop().expect(0);
}
