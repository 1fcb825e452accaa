//! A store for programs of other languages to read: what the tests of both bindings share.

use std::fs;
use std::path::{Path, PathBuf};

use siltstone::{Options, Root, Store, VolumeOptions, unwatched};

/// A directory of one test's own with a store in it, `data`; removed at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn with_store<T>(&self, act: impl FnOnce(&Store) -> T) -> T {
        let store = Options::new().memory_bytes(128 << 20).open_or_create(self.path("data")).unwrap();
        let done = act(&store);
        store.close().unwrap();
        done
    }

    /// Makes the volume that `read.c` and `read.py` know by heart; the root of `disk@new`.
    pub(crate) fn fill(&self) -> Root {
        self.with_store(|store| {
            let disk = store.create_volume("disk", &VolumeOptions::new((1 << 20) + 5)).unwrap();
            disk.write_at(4096, &[1; 8192]).unwrap();
            disk.snapshot("old").unwrap();
            disk.zero(4096, 4096).unwrap();
            disk.write_at(1 << 20, &[2; 5]).unwrap();
            disk.snapshot("new").unwrap().root(&mut unwatched).unwrap()
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
