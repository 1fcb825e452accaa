//! `silt check` finds damage, and names the volumes it touches and no others.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::load::random_bytes;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// The only file in a directory of the store.
pub(crate) fn only_file(silt: &Silt, directory: &str) -> PathBuf {
    let mut files: Vec<_> =
        fs::read_dir(silt.data().join(directory)).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Inverts one byte of a file.
pub(crate) fn damage(path: &PathBuf, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

#[test]
fn a_rotten_frame_is_found_and_its_volume_named() {
    let scratch = Scratch::new("check-frame");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &random_bytes(1, 1 << 20)).expect(0);
    let segment = only_file(&silt, "segments");
    let other = random_bytes(2, 1 << 20);
    silt.run_with_input(&["import", "-", "other"], &other).expect(0);
    let good = silt.json(&["check"]);
    assert_eq!((&good["damaged"], &good["blocks_good"]), (&json!(false), &json!(512)));

    damage(&segment, segment.metadata().unwrap().len() / 2);
    let found = silt.run(&["check", "--json"]).expect(3).json();
    let damages = found["damage"].as_array().unwrap();
    assert_eq!((&found["damaged"], damages.len()), (&json!(true), 1), "{found}");
    let file = format!("segments/{}", segment.file_name().unwrap().to_str().unwrap());
    assert_eq!((&damages[0]["file"], &damages[0]["volumes"]), (&json!(file), &json!(["demo"])));
    let table = silt.run(&["check"]).expect(3).text();
    assert!(table.contains(&file) && table.contains("demo") && !table.contains("other"), "{table}");

    silt.run(&["export", "demo", "-"]).expect(3);
    assert!(silt.run(&["export", "other", "-"]).expect(0).stdout == other);
}

#[test]
fn a_rotten_frame_names_the_snapshots_and_clones_that_share_it() {
    let scratch = Scratch::new("check-shared");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &random_bytes(5, 1 << 20)).expect(0);
    silt.run(&["snap", "create", "demo@s"]).expect(0);
    silt.run(&["clone", "demo@s", "copy"]).expect(0);
    let segment = only_file(&silt, "segments");
    damage(&segment, segment.metadata().unwrap().len() / 2);
    let found = silt.run(&["check", "--json"]).expect(3).json();
    let mut volumes: Vec<_> = found["damage"][0]["volumes"].as_array().unwrap().iter().map(Value::to_string).collect();
    volumes.sort();
    assert_eq!(volumes, [r#""copy""#, r#""demo""#, r#""demo@s""#], "{found}");
}

#[test]
fn a_rotten_run_is_found_and_its_volume_named() {
    let scratch = Scratch::new("check-run");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &random_bytes(3, 1 << 20)).expect(0);
    silt.run(&["create", "empty", "--size", "1M"]).expect(0);
    damage(&only_file(&silt, "runs"), 100);
    let found = silt.run(&["check", "--json"]).expect(3).json();
    let run = &found["damage"][0];
    assert!(run["file"].as_str().unwrap().starts_with("runs/"), "{found}");
    assert_eq!(run["volumes"], json!(["demo"]), "{found}");
}

#[test]
fn a_lost_segment_is_found() {
    let scratch = Scratch::new("check-lost");
    let silt = Silt::new(&scratch.join("data"));
    silt.run_with_input(&["import", "-", "demo"], &random_bytes(4, 1 << 20)).expect(0);
    fs::remove_file(only_file(&silt, "segments")).unwrap();
    let found = silt.run(&["check", "--json"]).expect(3).json();
    assert_eq!(found["damage"][0]["volumes"], json!(["demo"]), "{found}");
}
