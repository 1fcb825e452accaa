//! What programs of C find in a store.

use std::fs;

use siltstone::VolumeOptions;

use crate::compiler::{compile, run, succeed};
use crate::crate_dir;
use crate::store::Scratch;

#[test]
fn everything_can_be_read_from_c() {
    let scratch = Scratch::new("c-read");
    let root = scratch.fill();
    let program = scratch.0.join("read");
    compile(&crate_dir().join("tests/it/read.c"), &program);
    succeed(&program, &[scratch.path("data"), root.to_string()]);
}

#[test]
fn the_example_keeps_an_image_up_to_date() {
    let scratch = Scratch::new("c-incremental");
    let program = scratch.0.join("incremental");
    compile(&crate_dir().join("../../../examples/c/incremental.c"), &program);
    let (data, image) = (scratch.path("data"), scratch.path("image"));
    let snapshot = |name: &str, size_bytes: u64, offset: u64, byte: u8| {
        scratch.with_store(|store| {
            let mut disk = store.open_or_create_volume("disk", &VolumeOptions::new(size_bytes)).unwrap();
            disk.write_at(offset, &[byte; 5000]).unwrap();
            disk.resize(size_bytes, siltstone::Shrink::Allowed).unwrap();
            disk.snapshot(name).unwrap();
            let mut content = vec![0; size_bytes as usize];
            disk.read_at(0, &mut content).unwrap();
            content
        })
    };
    let content = snapshot("a", (8 << 20) + 5, 4096, 1);
    assert_eq!(succeed(&program, &[&data, "disk@a", &image]), "8192 bytes copied\n");
    assert!(fs::read(&image).unwrap() == content);
    let again = run(&program, &[&data, "disk@a", &image]);
    assert_eq!(again.status.code(), Some(1), "an image is not overwritten");

    let content = snapshot("b", 4 << 20, 1 << 20, 2);
    assert_eq!(succeed(&program, &[&data, "disk@b", &image, "disk@a"]), "8192 bytes copied\n");
    assert!(fs::read(&image).unwrap() == content);
    let missing = run(&program, &[&data, "disk@c", &image, "disk@b"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("named c"), "the message says what is missing");
}
