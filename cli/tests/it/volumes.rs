//! Commands on volumes do the same whether a daemon runs or not.

use std::fs;

use serde_json::{Value, json};

use crate::daemon::Daemon;
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
    for verb in [&["ls"][..], &["status"], &["info", "demo"], &["rm", "demo"], &["check"], &["export", "demo", "-"]] {
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

/// Every file of a data directory with its bytes.
fn snapshot(silt: &Silt) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut directories = vec![silt.data().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                files.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn looking_at_a_stopped_store_changes_nothing() {
    let scratch = Scratch::new("read-only");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &[7; 300_000]).expect(0);
    let before = snapshot(&silt);
    for verb in [&["ls"][..], &["info", "demo"], &["status"], &["uri", "demo"], &["du"], &["export", "demo", "-"]] {
        silt.run(verb).expect(0);
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
