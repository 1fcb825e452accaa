//! Reservations, quotas, what a removal frees, and how full the node is, end to end.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::snapshots::{BLOCK_BYTES, change, connect, make};

#[test]
fn limits_are_set_shown_and_kept_with_and_without_a_daemon() {
    let scratch = Scratch::new("limits");
    let silt = Silt::new(&scratch.join("data"));
    let made = silt.json(&["create", "demo", "--size", "8M", "--reserve", "1M", "--quota", "2M"]);
    assert_eq!((&made["reserve_bytes"], &made["quota_bytes"]), (&json!(1 << 20), &json!(2 << 20)));
    let text = silt.run(&["info", "demo"]).expect(0).text();
    assert!(text.contains("reserved") && text.contains("1 MiB") && text.contains("quota"), "{text}");
    silt.run(&["set", "demo", "quota=none"]).expect(0);
    assert_eq!(silt.json(&["info", "demo"])["quota_bytes"], Value::Null);
    let refusals: [(&[&str], i32, &str); 6] = [
        (&["set", "demo", "reserve=0"], 2, "`none`"),
        (&["set", "demo", "quota=much"], 2, "write bytes"),
        (&["set", "demo", "reserve=9M"], 2, "no more than the volume's size"),
        (&["set", "demo", "quota=4K"], 2, "no less than the reservation"),
        (&["set", "gone", "quota=4K"], 10, "no volume is named gone"),
        (&["create", "big", "--size", "1P", "--reserve", "1P"], 1, "cannot be reserved"),
    ];
    for (arguments, code, why) in refusals {
        let refused = silt.run(arguments).expect(code);
        assert!(refused.stderr.contains(why), "{arguments:?}: {}", refused.stderr);
    }
    silt.run(&["info", "big"]).expect(10);

    let daemon = Daemon::start(&silt, &[]);
    silt.run(&["set", "demo", "quota=2M", "snap-every=1h", "keep=1h:1d"]).expect(0);
    let client = connect(&silt, "demo");
    let data = vec![7; 1 << 20];
    client.write(0, &data, false).unwrap();
    client.write(1 << 20, &data, false).unwrap();
    let full = client.write(4 << 20, &data[..BLOCK_BYTES], false).unwrap_err();
    assert_eq!(full.errno().0, 28, "ENOSPC");
    client.write(0, &data, false).unwrap();
    client.trim(0, 1 << 20).unwrap();
    client.write(4 << 20, &data, true).unwrap();
    assert_eq!(silt.json(&["status"])["space"]["reserved_bytes"], 0);
    drop(client);
    daemon.kill();
    let info = silt.json(&["info", "demo"]);
    assert_eq!((&info["reserve_bytes"], &info["quota_bytes"]), (&json!(1 << 20), &json!(2 << 20)));
    assert_eq!(info["schedule"]["every"], "1h");
}

#[test]
fn du_tells_what_a_removal_frees() {
    let scratch = Scratch::new("frees");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let mut demo = make(&silt, "demo", 1);
    make(&silt, "other", 2);
    silt.run(&["snap", "create", "demo@old"]).expect(0);
    assert!(silt.json(&["snap", "ls"])["snapshots"][0]["frees_bytes"].is_null(), "nobody has asked");
    change(&silt, "demo", &mut demo, 3);
    daemon.stop().expect(0);
    let daemon = Daemon::start(&silt, &[]);
    silt.run(&["gc", "--now"]).expect(0);
    let of = |name: &str| {
        let usage = silt.json(&["du", name]);
        let integer = |key: &str| usage["volumes"][0][key].as_u64().unwrap_or_else(|| panic!("{key} of {usage}"));
        ["mapped_bytes", "stored_bytes", "shared_bytes", "unique_bytes", "frees_bytes"].map(integer)
    };
    let [mapped, stored, shared, unique, frees] = of("other");
    assert_eq!((mapped, shared, stored), (demo.len().next_multiple_of(BLOCK_BYTES) as u64, 0, unique));
    assert!(frees >= unique, "{frees} of {unique}");
    let [_, _, _, old_unique, _] = of("demo@old");
    assert!((1..1 << 20).contains(&old_unique), "{old_unique}");
    let table = silt.run(&["du"]).expect(0).text();
    assert!(table.lines().next().unwrap().contains("FREES"), "{table}");
    // It is known now.
    assert!(silt.json(&["snap", "ls"])["snapshots"][0]["frees_bytes"].is_u64());
    assert!(silt.run(&["snap", "ls"]).expect(0).text().contains("FREES"));
    let stored_bytes = || silt.json(&["status"])["store"]["numbers"]["segment_bytes"].as_u64().unwrap();
    let before = stored_bytes();
    silt.run(&["rm", "other", "--now"]).expect(0);
    silt.run(&["gc", "--now"]).expect(0);
    let freed = before - stored_bytes();
    assert!(freed.abs_diff(frees) < 256 << 10, "{frees} said, {freed} freed");
    daemon.stop().expect(0);
}

#[test]
fn status_tells_how_full_the_node_is_and_warns() {
    let scratch = Scratch::new("full");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--capacity", "256M", "--create", "demo=64M"]);
    let space = silt.json(&["status"])["space"].clone();
    assert_eq!((&space["total_bytes"], &space["warning"]), (&json!(256 << 20), &Value::Null));
    assert_eq!((&space["warn_at_percent"], &space["full_in_s"]), (&json!([80, 90]), &Value::Null));
    let number = |key: &str| space[key].as_u64().unwrap_or_else(|| panic!("{key} of {space}"));
    assert_eq!(number("total_bytes"), number("used_bytes") + number("free_bytes") + number("kept_bytes"));
    let text = silt.run(&["status"]).expect(0).text();
    assert!(text.contains("of 256 MiB") && !text.contains("warning"), "{text}");
    daemon.stop().expect(0);
    let daemon = Daemon::start(&silt, &["--warn-at", "1,2"]);
    let warned = silt.json(&["status"])["space"]["warning"].as_str().unwrap().to_owned();
    assert!(warned.contains("silt capacity"), "{warned}");
    assert!(silt.run(&["status"]).expect(0).text().contains("warning"));
    daemon.stop().expect(0);
    silt.run(&["serve", "--warn-at", "90,80"]).expect(2);
}
