//! The whole tool, command by command. How a volume is copied has its tests in the library.

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use siltstone::{Options, Shrink, Store, VolumeOptions};

use crate::{Arguments, options, run};

/// A directory of one test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("minibak-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command; arguments that begin with `:` are paths in here.
    fn minibak(&self, line: &str) -> anyhow::Result<()> {
        let words = line.split(' ').map(|word| word.strip_prefix(':').map_or(word.to_owned(), |name| self.path(name)));
        run(Arguments::try_parse_from(["minibak".to_owned()].into_iter().chain(words))?)
    }

    fn with_store<T>(&self, name: &str, act: impl FnOnce(&Store) -> T) -> T {
        let store = Options::new().memory_bytes(128 << 20).open_or_create(self.path(name)).unwrap();
        let done = act(&store);
        store.close().unwrap();
        done
    }

    fn backups(&self) -> Vec<String> {
        let store = options().read_only(true).open(self.path("repository")).unwrap();
        crate::backups(&store).unwrap().into_iter().map(|(name, _)| name).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_backup_of_a_volume_comes_back() {
    let scratch = Scratch::new("volume");
    scratch.minibak("init :repository").unwrap();
    assert!(scratch.minibak("init :repository").is_err(), "a repository is not made twice");
    let mut contents = Vec::new();
    for round in 1..=3_u8 {
        contents.push(scratch.with_store("data", |store| {
            let mut disk = store.open_or_create_volume("disk", &VolumeOptions::new(2 << 20)).unwrap();
            disk.write_at(u64::from(round) * 100_001, &[round; 300_000]).unwrap();
            disk.resize((1 << 20) * (2 + u64::from(round) % 2) + 5, Shrink::Allowed).unwrap();
            let mut content = vec![0; disk.size_bytes() as usize];
            disk.read_at(0, &mut content).unwrap();
            content
        }));
        scratch.minibak("backup :repository --from :data disk").unwrap();
        let kept = scratch.with_store("data", |store| store.snapshots("disk").unwrap().len());
        assert_eq!(kept, 1, "the source keeps only the newest");
        // As far as a backup comes that is broken off: it is no part of the next one.
        scratch.with_store("data", |store| drop(store.create_snapshot("disk@minibak-1").unwrap()));
        scratch.with_store("repository", |store| store.volume("disk").unwrap().write_at(1 << 20, b"half").unwrap());
    }
    let names = scratch.backups();
    scratch.minibak("list :repository").unwrap();
    scratch.minibak("verify :repository").unwrap();
    for (name, content) in names.iter().zip(&contents) {
        scratch.minibak(&format!("restore :repository {name} :{name}")).unwrap();
        assert!(fs::read(scratch.path(name)).unwrap() == *content, "{name}");
        assert!(scratch.minibak(&format!("restore :repository {name} :{name}")).is_err(), "images are not overwritten");
    }
    assert!(scratch.minibak("forget :repository disk --keep 0").is_err());
    scratch.minibak("forget :repository disk --keep 2").unwrap();
    assert_eq!(scratch.backups(), names[1..]);
    scratch.minibak("prune :repository").unwrap();
    scratch.minibak("verify :repository").unwrap();
}

#[test]
fn a_snapshot_of_somebody_else_is_no_backup() {
    let scratch = Scratch::new("others");
    scratch.minibak("init :repository").unwrap();
    scratch.with_store("data", |store| drop(store.create_volume("disk", &VolumeOptions::new(1 << 20)).unwrap()));
    scratch.minibak("backup :repository --from :data disk").unwrap();
    scratch.with_store("data", |store| {
        store.volume("disk").unwrap().write_at(0, b"between").unwrap();
        drop(store.create_snapshot("disk@monday").unwrap());
    });
    // Of the same name, and it holds something else.
    scratch.with_store("repository", |store| drop(store.create_snapshot("disk@monday").unwrap()));
    scratch.minibak("backup :repository --from :data disk").unwrap();
    let newest = scratch.with_store("repository", |store| store.snapshots("disk").unwrap().pop().unwrap().name);
    scratch.minibak(&format!("restore :repository {newest} :image")).unwrap();
    assert!(fs::read(scratch.path("image")).unwrap().starts_with(b"between"));
}

#[test]
fn directories_come_back() {
    let scratch = Scratch::new("directory");
    scratch.minibak("init :repository").unwrap();
    fs::create_dir_all(scratch.path("home/below")).unwrap();
    fs::write(scratch.path("home/below/large"), vec![7; 5 << 20]).unwrap();
    std::os::unix::fs::symlink("below/large", scratch.path("home/link")).unwrap();
    scratch.minibak("backup-directory :repository :home home").unwrap();
    fs::write(scratch.path("home/a-new-one"), "before the large one").unwrap();
    scratch.minibak("backup-directory :repository :home home").unwrap();
    assert!(scratch.minibak("backup-directory :repository :none home").is_err(), "half an archive is no backup");
    assert!(scratch.minibak("backup-directory :repository :home a/b").is_err());
    scratch.minibak("verify :repository").unwrap();
    scratch.minibak("restore :repository home/0000000001 :old").unwrap();
    scratch.minibak("restore :repository home/0000000002 :new").unwrap();
    assert!(fs::read(scratch.path("new/link")).unwrap() == vec![7; 5 << 20]);
    assert!(fs::exists(scratch.path("new/a-new-one")).unwrap() && !fs::exists(scratch.path("old/a-new-one")).unwrap());
    assert!(scratch.minibak("restore :repository home/0000000001 :old").is_err(), "a directory is not overwritten");
    scratch.minibak("forget :repository home --keep 1").unwrap();
    assert_eq!(scratch.backups(), ["home/0000000002"]);
}
