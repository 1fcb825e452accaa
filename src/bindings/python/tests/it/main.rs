//! The module as programs of Python see it, from the library that cargo has built. `tools/clients/python` does the same with a wheel.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../../../tests/store.rs"]
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use siltstone::{Shrink, VolumeOptions};

use crate::store::Scratch;

/// A directory with the module in it.
fn scratch(test: &str) -> Scratch {
    let scratch = Scratch::new(test);
    // Cargo puts the library beside the tests that need it.
    let library = std::env::current_exe().unwrap().with_file_name("libsiltstone_python.so");
    fs::copy(library, scratch.0.join("siltstone.abi3.so")).unwrap();
    scratch
}

fn python(scratch: &Scratch, script: &str, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    Command::new("python3").env("PYTHONPATH", &scratch.0).arg(script).args(arguments).output().unwrap()
}

/// Runs a script that has to succeed; what it printed.
fn succeed(scratch: &Scratch, script: &str, arguments: &[&str]) -> String {
    let output = python(scratch, script, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn everything_can_be_read_from_python() {
    let scratch = scratch("python-read");
    let root = scratch.fill();
    let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("siltstone.pyi");
    succeed(&scratch, "tests/it/read.py", &[&scratch.path("data"), &root.to_string(), stub.to_str().unwrap()]);
}

#[test]
fn the_example_backs_up_what_is_new() {
    const EXAMPLE: &str = "../../../examples/python/incremental_backup.py";
    let scratch = scratch("python-backup");
    fs::create_dir(scratch.path("backups")).unwrap();
    let (data, backups) = (scratch.path("data"), scratch.path("backups"));
    let rounds = [((4 << 20) + 5, 0, 3), ((4 << 20) + 5, 2 << 20, 1), (5 << 20, 4 << 20, 5), (3 << 20, 1 << 20, 5)];
    for (round, (size_bytes, offset, byte)) in rounds.into_iter().enumerate() {
        let content = scratch.with_store(|store| {
            let mut disk = store.open_or_create_volume("disk", &VolumeOptions::new(size_bytes)).unwrap();
            disk.resize(size_bytes, Shrink::Allowed).unwrap();
            disk.write_at(offset, &[byte; 8192]).unwrap();
            // As of a backup that was broken off.
            disk.snapshot("backup-1").unwrap();
            let mut content = vec![0; size_bytes as usize];
            disk.read_at(0, &mut content).unwrap();
            content
        });
        let said = succeed(&scratch, EXAMPLE, &["backup", &data, "disk", &backups]);
        // The last round writes what the pool has, and cuts off two of the eight blocks there were.
        let wanted = [
            "2 blocks, 1 of them new",
            "4 blocks, 1 of them new",
            "6 blocks, 1 of them new",
            "6 blocks, 0 of them new",
        ];
        assert!(said.trim().ends_with(wanted[round]), "round {round}: {said}");
        let (name, image) = (said.split(':').next().unwrap(), scratch.path(&format!("{round}.img")));
        succeed(&scratch, EXAMPLE, &["restore", &format!("{backups}/{name}.map"), &image]);
        assert!(fs::read(&image).unwrap() == content, "round {round}");
        let kept = scratch.with_store(|store| store.snapshots("disk").unwrap());
        assert_eq!(kept.iter().map(|one| &one.name).collect::<Vec<_>>(), [name], "the store keeps the newest");
    }
    let missing = python(&scratch, EXAMPLE, &["backup", &data, "none", &backups]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("siltstone.NotFound"), "{missing:?}");
    let files = entries(&scratch.0.join("backups"));
    let map = files.iter().find(|file| file.extension().is_some_and(|is| is == "map")).unwrap();
    for block in entries(&scratch.0.join("backups/blocks")).iter().flat_map(|shelf| entries(shelf)) {
        fs::write(block, "").unwrap();
    }
    let damaged = python(&scratch, EXAMPLE, &["restore", map.to_str().unwrap(), &scratch.path("damaged.img")]);
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("is damaged"), "{damaged:?}");
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}
