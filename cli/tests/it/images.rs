//! Import and export, with a daemon and without.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde_json::json;

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

/// A sparse image of an odd size: data, a hole, written zeros, more data up to the last byte.
fn write_image(path: &Path) -> Vec<u8> {
    let mut image = vec![0; (9 << 20) + 777];
    let mut state = 1u32;
    for byte in image[..2_500_000].iter_mut().chain(&mut []) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    image[6 << 20..(6 << 20) + 5000].fill(5);
    image[9 << 20..].fill(9);
    let file = File::create(path).unwrap();
    file.set_len(image.len() as u64).unwrap();
    file.write_all_at(&image[..4 << 20], 0).unwrap();
    file.write_all_at(&image[6 << 20..7 << 20], 6 << 20).unwrap();
    file.write_all_at(&image[9 << 20..], 9 << 20).unwrap();
    image
}

fn there_and_back(silt: &Silt, scratch: &Scratch) {
    let original = scratch.join("disk.img");
    let image = write_image(&original);
    let original = original.to_str().unwrap();

    let imported = silt.json(&["import", original]);
    assert_eq!((&imported["name"], &imported["size_bytes"]), (&json!("disk"), &json!(image.len())));
    assert!(imported["data_bytes"].as_u64().unwrap() < 6 << 20, "zeros were moved: {imported}");
    silt.run(&["import", original, "disk"]).expect(1);

    let copy = scratch.join("copy.img");
    silt.run(&["export", "disk", copy.to_str().unwrap()]).expect(0);
    assert!(fs::read(&copy).unwrap() == image);
    assert!(copy.metadata().unwrap().blocks() * 512 < 6 << 20, "the export is sparse");
    let refused = silt.run(&["export", "disk", copy.to_str().unwrap()]).expect(1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    silt.run(&["export", "disk", copy.to_str().unwrap(), "--force"]).expect(0);

    silt.run_with_input(&["import", "-", "piped", "--codec", "zstd"], &image).expect(0);
    assert_eq!(silt.json(&["info", "piped"])["size_bytes"], image.len());
    assert!(silt.run(&["export", "piped", "-"]).expect(0).stdout == image);
}

#[test]
fn images_come_back_without_a_daemon() {
    let scratch = Scratch::new("images-stopped");
    there_and_back(&Silt::new(&scratch.join("data")), &scratch);
}

#[test]
fn images_come_back_with_a_daemon() {
    let scratch = Scratch::new("images-running");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    there_and_back(&silt, &scratch);
    daemon.stop().expect(0);
}

#[test]
fn an_empty_image_is_refused() {
    let scratch = Scratch::new("images-empty");
    let silt = Silt::new(&scratch.join("data"));
    let refused = silt.run_with_input(&["import", "-", "empty"], b"").expect(2);
    assert!(refused.stderr.contains("1 byte"), "{}", refused.stderr);
    silt.run(&["info", "empty"]).expect(10);
}

#[test]
fn an_image_that_cannot_be_read_leaves_no_volume() {
    let scratch = Scratch::new("images-missing");
    let silt = Silt::new(&scratch.join("data"));
    let missing = scratch.join("missing.img");
    silt.run(&["import", missing.to_str().unwrap()]).expect(1);
    silt.run(&["import", scratch.path().to_str().unwrap(), "directory"]).expect(1);
    assert!(!silt.data().exists());
}

#[test]
fn a_failed_export_leaves_no_file() {
    let scratch = Scratch::new("images-failed-export");
    let silt = Silt::new(&scratch.join("data"));
    silt.run(&["create", "demo", "--size", "1M"]).expect(0);
    let target = scratch.join("missing-directory/a.img");
    silt.run(&["export", "demo", target.to_str().unwrap()]).expect(1);
    silt.run(&["export", "nothing", scratch.join("b.img").to_str().unwrap()]).expect(10);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "only the data directory is there");
}
