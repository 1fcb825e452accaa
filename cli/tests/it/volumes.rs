//! Commands on volumes do the same whether a daemon runs or not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde_json::{Value, json};
use siltstone::store::clock::{Clock, SystemClock};

use crate::daemon::Daemon;
use crate::load::random_bytes;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// A volume's life from `create` to `rm`, with what each command prints and how it ends.
fn live(silt: &Silt) {
    silt.run(&["create", "demo", "--size", "1G"]).expect(0);
    let again = silt.run(&["create", "demo", "--size", "1G"]).expect(1);
    assert!(again.stderr.contains("a volume named demo exists"), "{}", again.stderr);
    silt.run(&["create", "other", "--size", "2M", "--codec", "none"]).expect(0);

    let list = silt.json(&["ls"]);
    let names: Vec<_> = list["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).collect();
    assert_eq!(names, ["demo", "other"]);
    let table = silt.run(&["ls"]).expect(0).text();
    assert!(table.starts_with("NAME") && table.contains("1 GiB") && table.lines().count() == 3, "{table}");

    let info = silt.json(&["inspect", "other"]);
    assert_eq!((&info["size_bytes"], &info["codec"]), (&json!(2 << 20), &json!("none")));
    let created = info["created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.contains('T') && created.ends_with('Z'), "{created}");

    silt.run(&["resize", "demo", "--size", "2G"]).expect(0);
    assert_eq!(silt.json(&["info", "demo"])["size_bytes"], 2u64 << 30);
    let refused = silt.run(&["resize", "demo", "--size", "1M"]).expect(2);
    assert!(refused.stderr.contains("--allow-shrink"), "{}", refused.stderr);
    silt.run(&["resize", "demo", "--size", "1M", "--allow-shrink"]).expect(0);

    silt.run(&["rm", "demo", "other"]).expect(0);
    assert_eq!(silt.json(&["ls"]), json!({ "volumes": [] }));
    for verb in [&["info", "demo"][..], &["rm", "demo"], &["resize", "demo", "--size", "1G"], &["uri", "demo"]] {
        let missing = silt.run(verb).expect(10);
        assert!(missing.stderr.contains("no volume is named demo"), "{verb:?}: {}", missing.stderr);
    }
}

#[test]
fn volumes_live_without_a_daemon() {
    let scratch = Scratch::new("volumes-stopped");
    live(&Silt::new(&scratch.join("data")));
}

#[test]
fn volumes_live_with_a_daemon() {
    let scratch = Scratch::new("volumes-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    live(&silt);
    daemon.stop().expect(0);
}

#[test]
fn volumes_outlive_the_daemon_that_made_them() {
    let scratch = Scratch::new("volumes-outlive");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    silt.run(&["create", "kept", "--size", "1G"]).expect(0);
    daemon.kill();
    let info = silt.json(&["info", "kept"]);
    let daemon = Daemon::start(&silt, &[]);
    assert_eq!(silt.json(&["info", "kept"]), info);
    daemon.stop().expect(0);
}

#[test]
fn a_missing_store_is_named_and_not_made() {
    let scratch = Scratch::new("missing");
    let silt = Silt::new(&scratch.join("data"));
    for verb in [
        &["ls"][..],
        &["status"],
        &["info", "demo"],
        &["rm", "demo"],
        &["check"],
        &["export", "demo", "-"],
        &["snap", "ls"],
    ] {
        let missing = silt.run(verb).expect(10);
        assert!(missing.stderr.contains("there is no store in"), "{verb:?}: {}", missing.stderr);
    }
    assert!(!silt.data().exists());
}

#[test]
fn usage_errors_exit_with_2() {
    let scratch = Scratch::new("usage");
    let silt = Silt::new(&scratch.join("data"));
    for verb in [
        &["create", "Demo", "--size", "1G"][..],
        &["create", "demo", "--size", "10GB"],
        &["create", "demo", "--size", "1G", "--codec", "rar"],
        &["create", "demo"],
        &["fly"],
        &["import", "-"],
    ] {
        silt.run(verb).expect(2);
    }
    assert!(!silt.data().exists());
}

#[test]
fn errors_are_json_where_answers_are() {
    let scratch = Scratch::new("json-errors");
    let silt = Silt::new(&scratch.join("data"));
    let missing = silt.run(&["ls", "--json"]).expect(10);
    let error: Value = serde_json::from_str(&missing.stderr).unwrap();
    assert_eq!(error["message_type"], "exit_error");
    assert_eq!((&error["code"], &error["kind"]), (&json!(10), &json!("not_found")));
    assert!(missing.stdout.is_empty());
}

/// Every file of a data directory.
fn paths(silt: &Silt) -> Vec<String> {
    let mut files = Vec::new();
    let mut directories = vec![silt.data().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path().display().to_string());
            }
        }
    }
    files.sort();
    files
}

/// Every file of a data directory with its bytes.
fn snapshot(silt: &Silt) -> Vec<(String, Vec<u8>)> {
    let with_bytes = |path: String| (path.clone(), fs::read(path).unwrap());
    paths(silt).into_iter().map(with_bytes).collect()
}

#[test]
fn looking_at_a_stopped_store_changes_nothing() {
    let scratch = Scratch::new("read-only");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &[7; 300_000]).expect(0);
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    let before = snapshot(&silt);
    for verb in [&["ls"][..], &["status"], &["du"], &["snap", "ls"], &["trash", "ls"]] {
        silt.run(verb).expect(0);
    }
    for name in ["demo", "demo@s"] {
        for verb in [&["info", name][..], &["uri", name], &["du", name], &["children", name], &["export", name, "-"]] {
            silt.run(verb).expect(0);
        }
    }
    silt.run(&["check"]).expect(0);
    let after = snapshot(&silt);
    assert!(before == after, "a command that only looks wrote to the store");
}

#[test]
fn a_running_store_is_not_checked() {
    let scratch = Scratch::new("check-running");
    let silt = Silt::new(&scratch.join("data"));
    let _daemon = Daemon::start(&silt, &[]);
    let busy = silt.run(&["check"]).expect(11);
    assert!(busy.stderr.contains("stop it first"), "{}", busy.stderr);
}

#[test]
fn a_check_waits_for_a_daemon_that_is_stopping() {
    let scratch = Scratch::new("check-stopping");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    silt.run_with_input(&["import", "-", "demo"], &[7; 8 << 20]).expect(0);
    daemon.signal(rustix::process::Signal::TERM);
    while silt.data().join("control.sock").exists() {
        std::thread::yield_now();
    }
    let report = silt.json(&["check"]);
    assert_eq!((&report["damaged"], &report["damage"]), (&json!(false), &json!([])));
}

#[test]
fn iostat_reports_volumes_of_a_running_daemon_only() {
    let scratch = Scratch::new("iostat");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=1G"]);
    let report = silt.json(&["iostat"]);
    assert_eq!(report["message_type"], "iostat");
    assert_eq!(report["volumes"][0]["name"], "demo");
    let reports = silt.run(&["iostat", "1", "2", "--json"]).expect(0).text();
    assert_eq!(reports.lines().count(), 2);
    daemon.stop().expect(0);
    let stopped = silt.run(&["iostat"]).expect(1);
    assert!(stopped.stderr.contains("no daemon serves"), "{}", stopped.stderr);
}

#[test]
fn completions_are_printed() {
    let scratch = Scratch::new("completion");
    let silt = Silt::new(&scratch.join("data"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(silt.run(&["completion", shell]).expect(0).text().contains("attached"), "{shell}");
    }
}

#[test]
fn capacity_is_held_and_released_while_the_daemon_runs_and_when_it_does_not() {
    const CAPACITY_BYTES: u64 = 200 << 20;
    let scratch = Scratch::new("capacity");
    let silt = Silt::new(&scratch.join("data"));
    let allocated = || {
        let blocks = |path: &str| fs::metadata(path).unwrap().blocks();
        paths(&silt).iter().map(|path| blocks(path) * 512).sum::<u64>()
    };
    let held = || silt.json(&["status"])["store"]["numbers"]["capacity_bytes"].clone();
    let daemon = Daemon::start(&silt, &["--create", "demo=1G"]);
    assert_eq!(held(), Value::Null);
    assert!(allocated() < CAPACITY_BYTES);
    assert_eq!(silt.json(&["capacity", "200M"])["capacity_bytes"], CAPACITY_BYTES);
    assert_eq!(held(), CAPACITY_BYTES);
    // All of it, once the journal's spare files are made: until then their room is left free for them.
    let is_held = (0..200).any(|_| {
        SystemClock::new().sleep(Duration::from_millis(100));
        allocated() >= CAPACITY_BYTES
    });
    assert!(is_held, "{}", allocated());
    daemon.stop().expect(0);
    // A stopped store has no journal, and the room of the one to come is not held.
    assert!(allocated() >= CAPACITY_BYTES - (64 << 20), "{}", allocated());
    assert_eq!(held(), CAPACITY_BYTES);

    assert_eq!(silt.json(&["capacity", "none"])["capacity_bytes"], Value::Null);
    assert!(allocated() < CAPACITY_BYTES);
    // Less than a store needs, and more than there is.
    for impossible in ["1M", "1000T"] {
        let refused = silt.run(&["capacity", impossible]);
        assert!(refused.code != 0, "{impossible} was accepted");
        assert_eq!(held(), Value::Null);
    }
}

#[test]
fn space_of_removed_volumes_comes_back_while_the_daemon_runs_and_when_it_does_not() {
    let scratch = Scratch::new("gc");
    let silt = Silt::new(&scratch.join("data"));
    let content = random_bytes(6, 1 << 20);
    let number = |name: &str| silt.json(&["status"])["store"]["numbers"][name].as_u64().unwrap();
    for serve in [false, true] {
        silt.run_with_input(&["import", "-", "kept"], &content[..512 << 10]).expect(0);
        silt.run_with_input(&["import", "-", "gone"], &content[512 << 10..]).expect(0);
        let daemon = serve.then(|| Daemon::start(&silt, &[]));
        silt.run(&["rm", "--now", "gone"]).expect(0);
        let plan = silt.json(&["gc", "--now", "--dry-run"]);
        assert_eq!((&plan["segments"], number("segment_count")), (&json!(1), 2), "{plan}");
        assert_eq!(silt.json(&["gc", "--now"]), plan);
        assert_eq!(number("segment_count"), 1);
        assert!(silt.run(&["gc"]).expect(0).text().contains("nothing"));
        assert!(silt.run(&["export", "kept", "-"]).expect(0).stdout == content[..512 << 10]);
        silt.run(&["rm", "--now", "kept"]).expect(0);
        assert!(silt.run(&["gc"]).expect(0).text().contains("1 segments"));
        daemon.into_iter().for_each(|daemon| drop(daemon.stop().expect(0)));
        assert_eq!(silt.json(&["check"])["damaged"], false);
    }
}

#[test]
fn cold_data_is_packed_on_demand_once_while_the_daemon_runs_and_when_it_does_not() {
    let scratch = Scratch::new("cold");
    for serve in [false, true] {
        let silt = Silt::new(&scratch.join(if serve { "served" } else { "stopped" }));
        let text: Vec<u8> =
            (0..200_000_u64).flat_map(|line| format!("line {} \n", line * line % 9973).into_bytes()).collect();
        silt.run_with_input(&["import", "-", "text"], &text).expect(0);
        let daemon = serve.then(|| Daemon::start(&silt, &["--cold", "zstd:5"]));
        let number = |name: &str| silt.json(&["status"])["store"]["numbers"][name].as_u64().unwrap();
        let before = number("segment_bytes");
        let plan = silt.json(&["gc", "--cold", "--now", "--dry-run"]);
        assert_eq!((&plan["left_bytes"], &plan["segments"]), (&json!(before), &json!(0)), "{plan}");
        assert_eq!(number("cold_bytes"), 0);
        let packed = silt.json(&["gc", "--cold", "--now"]);
        assert_eq!((&packed["segment_bytes"], &packed["left_segments"]), (&json!(before), &json!(0)), "{packed}");
        assert!(number("segment_bytes") < before && number("cold_bytes") == number("segment_bytes"));
        assert!(silt.run(&["gc", "--cold"]).expect(0).text().contains("nothing is cold"));
        assert!(silt.run(&["export", "text", "-"]).expect(0).stdout == text);
        daemon.into_iter().for_each(|daemon| drop(daemon.stop().expect(0)));
        assert_eq!(silt.json(&["check"])["damaged"], false);
    }
    let silt = Silt::new(&scratch.join("refused"));
    assert!(silt.run(&["serve", "--cold", "lz4"]).expect(2).stderr.contains("off"));
}

/// Every number of bytes in a document is an integer, or null where there is none.
fn assert_bytes_are_integers(document: &Value) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_size = name.ends_with("_bytes") || name.ends_with("_count");
                assert!(!is_size || value.is_u64() || value.is_null(), "{name}: {value}");
                assert_bytes_are_integers(value);
            }
        }
        Value::Array(items) => items.iter().for_each(assert_bytes_are_integers),
        _ => {}
    }
}

#[test]
fn every_command_prints_json() {
    let scratch = Scratch::new("json");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "other=1T"]);
    assert_bytes_are_integers(daemon.ready());
    let file = scratch.join("disk.img");
    let file = file.to_str().unwrap();
    fs::write(file, vec![7; 300_000]).unwrap();
    let both: [&[&str]; 16] = [
        &["snap", "create", "other@a"],
        &["ls"],
        &["info", "other"],
        &["info", "other@a"],
        &["status"],
        &["du"],
        &["uri", "other@a"],
        &["snap", "ls"],
        &["children", "other"],
        &["trash", "ls"],
        &["set", "other", "snap-every=1h", "keep=1h:1d"],
        &["rewind", "other", "--to", "2100-01-01T00:00:00Z"],
        &["diff", "other@a", "other"],
        &["snap", "rename", "other@a", "b"],
        &["snap", "rollback", "other@b"],
        &["snap", "rm", "other@b"],
    ];
    let running: [&[&str]; 6] = [
        &["import", file, "demo"],
        &["create", "third", "--size", "1T"],
        &["iostat"],
        &["rm", "third"],
        &["clone", "other", "copy"],
        &["resize", "other", "--size", "2T"],
    ];
    for verb in running.iter().chain(&both) {
        assert_bytes_are_integers(&silt.json(verb));
    }
    daemon.stop().expect(0);
    let resized: &[&str] = &["resize", "other", "--size", "1P"];
    for verb in both.iter().chain([&resized, &(&["check"] as &[&str]), &(&["capacity", "none"] as &[&str])]) {
        assert_bytes_are_integers(&silt.json(verb));
    }
    assert_eq!(silt.json(&["info", "other"])["size_bytes"], 1u64 << 50);
    let exported = scratch.join("out.img");
    assert_bytes_are_integers(&silt.json(&["export", "demo", exported.to_str().unwrap()]));
}
