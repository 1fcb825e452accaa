//! Objects, end to end: with a daemon, without one, and after one that was killed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use siltstone::store::clock::{Clock, SystemClock};

use crate::check::{damage, only_file};
use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::{Outcome, Silt, outcome};

fn random(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}

fn names(silt: &Silt, prefix: &str) -> Vec<String> {
    let listed = silt.json(&["objects", "ls", prefix]);
    let objects = listed["objects"].as_array().unwrap();
    objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

fn got(silt: &Silt, name: &str) -> Vec<u8> {
    silt.run(&["get", name]).expect(0).stdout
}

fn there_and_back(silt: &Silt, scratch: &Scratch) {
    let bytes = [random(1, 3_000_000), vec![0; 500_000], random(2, 777)].concat();
    let file = scratch.join("dump");
    fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();

    let put = silt.json(&["put", "pg/monday", file, "--meta", "host=db1", "--meta", "note=a = b", "--keep", "30d"]);
    assert_eq!((&put["size_bytes"], &put["codec"]), (&json!(bytes.len()), &json!("zstd:3")));
    assert_eq!(put["metadata"], json!({ "host": "db1", "note": "a = b" }));
    assert_ne!(put["expires"], Value::Null);
    assert_eq!(silt.json(&["objects", "info", "pg/monday"]), put);
    assert!(got(silt, "pg/monday") == bytes);

    // From a pipe, in other ways; and nothing at all.
    silt.run_with_input(&["put", "pg/tuesday", "-", "--codec", "none"], &bytes).expect(0);
    silt.run_with_input(&["put", "image", "--fixed", "--codec", "lz4"], &bytes).expect(0);
    silt.run_with_input(&["put", "empty"], b"").expect(0);
    assert!(got(silt, "pg/tuesday") == bytes && got(silt, "image") == bytes && got(silt, "empty").is_empty());
    assert_eq!(silt.json(&["objects", "info", "image"])["chunker"], "fixed");
    assert_eq!(names(silt, ""), ["empty", "image", "pg/monday", "pg/tuesday"]);
    assert_eq!(names(silt, "pg/"), ["pg/monday", "pg/tuesday"]);
    assert!(names(silt, "pg/w").is_empty());
    let table = silt.run(&["objects", "ls"]).expect(0).text();
    assert!(table.starts_with("NAME") && table.lines().count() == 5, "{table}");

    // Parts.
    for (offset, length, expected) in [
        ("0", Some("10"), &bytes[..10]),
        ("1M", Some("1M"), &bytes[1 << 20..2 << 20]),
        ("3500700", None, &bytes[3_500_700..]),
        ("3500700", Some("1G"), &bytes[3_500_700..]),
        ("3500777", None, &[]),
    ] {
        let length = length.map_or(vec![], |length| vec!["--length", length]);
        let part = silt.run(&[&["get", "pg/monday", "--offset", offset], &length[..]].concat()).expect(0);
        assert!(part.stdout == expected, "{length:?} from {offset}");
    }
    silt.run(&["get", "pg/monday", "--offset", "3500778"]).expect(2);

    let copy = scratch.join("copy");
    let copy_path = copy.to_str().unwrap();
    silt.run(&["get", "image", copy_path]).expect(0);
    assert!(fs::read(&copy).unwrap() == bytes);
    let refused = silt.run(&["get", "empty", copy_path]).expect(1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    silt.run(&["get", "empty", copy_path, "--force"]).expect(0);
    assert!(fs::read(&copy).unwrap().is_empty());

    let taken = silt.run(&["put", "image", file]).expect(1);
    assert!(taken.stderr.contains("--replace"), "{}", taken.stderr);
    silt.run_with_input(&["put", "image", "--replace"], b"new").expect(0);
    assert_eq!(got(silt, "image"), b"new");

    // Objects are no volumes, and are counted as what they are.
    assert_eq!(silt.json(&["ls"]), json!({ "volumes": [] }));
    let status = silt.json(&["status"]);
    assert_eq!((&status["volumes"], &status["objects"], &status["uploads"]), (&json!(0), &json!(4), &json!(0)));
    assert_eq!(status["objects_size_bytes"], 2 * bytes.len() + 3);
    assert!(silt.run(&["status"]).expect(0).text().contains("objects"));

    silt.run(&["objects", "rm", "pg/monday", "pg/tuesday"]).expect(0);
    assert_eq!(names(silt, ""), ["empty", "image"]);

    let refusals: [(&[&str], i32, &str); 10] = [
        (&["get", "pg/monday"], 10, "no object is named pg/monday"),
        (&["objects", "info", "pg/monday"], 10, "no object is named"),
        (&["objects", "rm", "pg/monday"], 10, "no object is named"),
        (&["objects", "rm", "--upload", "image"], 10, "no upload of an object named image"),
        (&["put", "/a"], 2, "does not start with '/'"),
        (&["put", "a\nb"], 2, "without control characters"),
        (&["put", "a", "--meta", "novalue"], 2, "KEY=VALUE"),
        (&["put", "a", "--meta", "k=1", "--meta", "k=2"], 2, "gives k twice"),
        (&["put", "a", "--meta", "k=a\tb"], 2, "the value of k"),
        (&["put", "a", "--codec", "gzip"], 2, "codec"),
    ];
    for (verb, code, message) in refusals {
        let refused = silt.run(verb).expect(code);
        assert!(refused.stderr.contains(message), "{verb:?}: {}", refused.stderr);
    }
    assert_eq!(names(silt, ""), ["empty", "image"]);
}

#[test]
fn objects_come_back_without_a_daemon() {
    let scratch = Scratch::new("objects-stopped");
    let silt = Silt::new(&scratch.join("data"));
    there_and_back(&silt, &scratch);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn objects_come_back_with_a_daemon() {
    let scratch = Scratch::new("objects-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    there_and_back(&silt, &scratch);
    daemon.stop().expect(0);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

/// `tar | silt put`, and `silt get | tar`; a second archive of nearly the same takes little more.
#[test]
fn an_archive_goes_through_a_pipe_and_its_like_is_stored_once() {
    let scratch = Scratch::new("objects-tar");
    let silt = Silt::new(&scratch.join("data"));
    let tree = scratch.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..40 {
        fs::write(tree.join(format!("{number:02}")), random(number, 100_000)).unwrap();
    }
    let stored = || silt.json(&["du"])["objects"]["stored_bytes"].as_u64().unwrap();
    let daemon = Daemon::start(&silt, &[]);
    archive(&silt, &scratch, "a");
    daemon.stop().expect(0);
    let before = stored();
    assert!(before >= 4_000_000, "{before}");
    fs::write(tree.join("00"), random(99, 12_345)).unwrap();
    archive(&silt, &scratch, "b");
    let grown = stored() - before;
    assert!(grown < 400_000, "{grown} of {before} were stored again");

    let mut get = silt.command(&["get", "b"]);
    let mut get = get.stdout(Stdio::piped()).spawn().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-d").stdin(get.stdout.take().unwrap()).current_dir(scratch.path());
    assert!(tar.status().unwrap().success(), "what comes back is not what went");
    assert!(get.wait().unwrap().success());
    let usage = silt.json(&["du"])["objects"].clone();
    assert_eq!((&usage["count"], &usage["unique_bytes"]), (&json!(2), &usage["stored_bytes"]));
}

fn archive(silt: &Silt, scratch: &Scratch, name: &str) {
    let mut tar = Command::new("tar");
    tar.args(["-c", "--sort=name", "tree"]).current_dir(scratch.path()).stdout(Stdio::piped());
    let mut tar = tar.spawn().unwrap();
    let mut put = silt.command(&["put", name]);
    put.stdin(tar.stdout.take().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    outcome(put.spawn().unwrap()).expect(0);
    assert!(tar.wait().unwrap().success());
}

/// Feeds an upload and kills who takes it when so much is there.
fn break_off(silt: &Silt, bytes: &[u8], options: &[&str]) {
    let mut put = silt.command(&[&["put", "big"], options].concat());
    put.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut put = put.spawn().unwrap();
    let mut stdin = put.stdin.take().unwrap();
    stdin.write_all(bytes).unwrap();
    put.kill().unwrap();
    put.wait().unwrap();
}

/// Runs a command until the daemon has noticed that the one before is gone.
fn once_free(run: impl Fn() -> Outcome) -> Outcome {
    loop {
        let outcome = run();
        if outcome.code != 11 {
            return outcome;
        }
    }
}

#[test]
fn an_upload_that_is_broken_off_is_resumed() {
    let scratch = Scratch::new("objects-resume");
    let silt = Silt::new(&scratch.join("data"));
    let bytes = random(7, 12 << 20);
    let file = scratch.join("big");
    fs::write(&file, &bytes).unwrap();
    let file_path = file.to_str().unwrap();
    let uploads = || silt.json(&["status"])["uploads"].as_u64().unwrap();

    // A client that goes away, at a daemon that notices.
    let daemon = Daemon::start(&silt, &[]);
    break_off(&silt, &bytes[..6 << 20], &[]);
    while uploads() != 0 {
        std::thread::yield_now();
    }
    break_off(&silt, &bytes[..6 << 20], &["--resume"]);
    assert!(names(&silt, "").is_empty());
    let listed = silt.json(&["objects", "ls", "--uploads"])["uploads"].clone();
    assert_eq!((uploads(), &listed[0]["name"], listed[0]["expires"].is_string()), (1, &json!("big"), true));
    // And a daemon that is killed.
    daemon.kill();
    assert_eq!(uploads(), 1);

    // Other content is refused, and the same goes on.
    let other = scratch.join("other");
    fs::write(&other, random(8, 12 << 20)).unwrap();
    for arguments in [&["put", "big", other.to_str().unwrap(), "--resume"][..], &["put", "big", "--resume"]] {
        let refused = silt.run_with_input(arguments, b"short").expect(2);
        assert!(refused.stderr.contains("is not what was broken off"), "{}", refused.stderr);
    }
    let daemon = Daemon::start(&silt, &[]);
    // The beginning of the file is not read again.
    fs::File::options().write(true).open(&file).unwrap().write_all_at(&[0; 100], 0).unwrap();
    silt.run(&["put", "big", file_path, "--resume"]).expect(0);
    assert!(got(&silt, "big") == bytes);
    assert_eq!((names(&silt, ""), uploads()), (vec!["big".to_owned()], 0));

    break_off(&silt, &bytes[..6 << 20], &["--resume", "--replace"]);
    let again = ["put", "big", "--resume", "--replace", "--codec", "zstd"];
    once_free(|| silt.run_with_input(&again, &bytes)).expect(0);
    assert!(got(&silt, "big") == bytes);
    break_off(&silt, &bytes[..6 << 20], &["--resume", "--replace"]);
    once_free(|| silt.run(&["objects", "rm", "--upload", "big"])).expect(0);
    assert_eq!(uploads(), 0);
    daemon.stop().expect(0);
    assert_eq!(silt.json(&["check"])["damaged"], false);
}

#[test]
fn a_daemon_removes_objects_whose_time_is_over() {
    let scratch = Scratch::new("objects-expire");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["put", "short", "--keep", "1s"], b"x").expect(0);
    silt.run_with_input(&["put", "long", "--keep", "1d"], b"x").expect(0);
    SystemClock::new().sleep(Duration::from_millis(1100));
    assert_eq!(names(&silt, ""), ["long", "short"], "on a stopped store nothing goes by itself");
    let daemon = Daemon::start(&silt, &[]);
    while names(&silt, "") != ["long"] {
        std::thread::yield_now();
    }
    daemon.stop().expect(0);
}

#[test]
fn damage_of_an_object_is_an_error_and_is_called_by_its_name() {
    let scratch = Scratch::new("objects-damage");
    let silt = Silt::new(&scratch.join("data"));
    let bytes = random(3, 2 << 20);
    silt.run_with_input(&["put", "dump"], &bytes).expect(0);
    let segment = only_file(&silt, "segments");
    damage(&segment, segment.metadata().unwrap().len() / 2);
    let failed = silt.run(&["get", "dump"]).expect(3);
    assert!(failed.stdout.len() < bytes.len() && bytes.starts_with(&failed.stdout), "wrong bytes came");
    silt.run(&["get", "dump", scratch.join("file").to_str().unwrap()]).expect(3);
    assert!(!scratch.join("file").exists(), "half a file stays");
    let daemon = Daemon::start(&silt, &[]);
    let found = silt.run(&["scrub", "--rate", "1G", "--json"]).expect(3).json();
    assert_eq!(found["damage"][0]["touched"][0]["name"], "object dump", "{found}");
    daemon.stop().expect(0);
}
