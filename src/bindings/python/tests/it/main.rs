//! The module as programs of Python see it, from the library that cargo has built. `tools/clients/python` does the same with a wheel.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use siltstone::{Options, Shrink, Store, VolumeOptions, unwatched};

/// A directory of one test's own with the module in it, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("backups")).unwrap();
        // Cargo puts the library beside the tests that need it.
        let library = std::env::current_exe().unwrap().with_file_name("libsiltstone_python.so");
        fs::copy(library, path.join("siltstone.abi3.so")).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn with_store<T>(&self, act: impl FnOnce(&Store) -> T) -> T {
        let store = Options::new().memory_bytes(128 << 20).open_or_create(self.path("data")).unwrap();
        let done = act(&store);
        store.close().unwrap();
        done
    }

    fn python(&self, script: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        Command::new("python3").env("PYTHONPATH", &self.0).arg(script).args(arguments).output().unwrap()
    }

    /// Runs a script that has to succeed; what it printed.
    fn succeed(&self, script: &str, arguments: &[&str]) -> String {
        let output = self.python(script, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn everything_can_be_read_from_python() {
    let scratch = Scratch::new("python-read");
    let root = scratch.with_store(|store| {
        let disk = store.create_volume("disk", &VolumeOptions::new((1 << 20) + 5)).unwrap();
        disk.write_at(4096, &[1; 8192]).unwrap();
        disk.snapshot("old").unwrap();
        disk.zero(4096, 4096).unwrap();
        disk.write_at(1 << 20, &[2; 5]).unwrap();
        disk.snapshot("new").unwrap().root(&mut unwatched).unwrap()
    });
    let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("siltstone.pyi");
    scratch.succeed("tests/it/read.py", &[&scratch.path("data"), &root.to_string(), stub.to_str().unwrap()]);
}

#[test]
fn the_example_backs_up_what_is_new() {
    const EXAMPLE: &str = "../../../examples/python/incremental_backup.py";
    let scratch = Scratch::new("python-backup");
    let (data, backups) = (scratch.path("data"), scratch.path("backups"));
    let rounds = [((4 << 20) + 5, 0, 3), ((4 << 20) + 5, 2 << 20, 1), (5 << 20, 4 << 20, 5), (3 << 20, 1 << 20, 5)];
    for (round, (size_bytes, offset, byte)) in rounds.into_iter().enumerate() {
        let content = scratch.with_store(|store| {
            let mut disk = store.open_or_create_volume("disk", &VolumeOptions::new(size_bytes)).unwrap();
            disk.resize(size_bytes, Shrink::Allowed).unwrap();
            disk.write_at(offset, &[byte; 8192]).unwrap();
            let mut content = vec![0; size_bytes as usize];
            disk.read_at(0, &mut content).unwrap();
            content
        });
        let said = scratch.succeed(EXAMPLE, &["backup", &data, "disk", &backups]);
        // The last round writes what the pool has, and cuts off two of the eight blocks there were.
        let wanted = [
            "2 blocks, 1 of them new",
            "4 blocks, 1 of them new",
            "6 blocks, 1 of them new",
            "6 blocks, 0 of them new",
        ];
        assert!(said.trim().ends_with(wanted[round]), "round {round}: {said}");
        let (name, image) = (said.split(':').next().unwrap(), scratch.path(&format!("{round}.img")));
        scratch.succeed(EXAMPLE, &["restore", &format!("{backups}/{name}.map"), &image]);
        assert!(fs::read(&image).unwrap() == content, "round {round}");
        let kept = scratch.with_store(|store| store.snapshots("disk").unwrap().len());
        assert_eq!(kept, 1, "the store keeps the newest");
    }
    let missing = scratch.python(EXAMPLE, &["backup", &data, "none", &backups]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("siltstone.NotFound"), "{missing:?}");
}
