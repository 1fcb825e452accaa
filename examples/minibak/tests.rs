//! The whole tool, command by command.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use siltstone::{Options, Shrink, Store, Volume, VolumeOptions};

use crate::{Arguments, run};

/// A directory of one test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("minibak-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn minibak(arguments: &[&str]) -> anyhow::Result<()> {
    run(Arguments::try_parse_from([&["minibak"], arguments].concat())?)
}

fn options() -> Options {
    Options::new().memory_bytes(128 << 20)
}

/// Changes the source with its daemon, if there were one, stopped.
fn change(data: &str, change: impl FnOnce(&Store)) {
    let store = options().open_or_create(data).unwrap();
    change(&store);
    store.close().unwrap();
}

fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn content(volume: &Volume) -> Vec<u8> {
    let mut content = vec![0; volume.size_bytes() as usize];
    volume.read_at(0, &mut content).unwrap();
    content
}

fn backups(repository: &str) -> Vec<String> {
    let store = options().read_only(true).open(repository).unwrap();
    store.all_snapshots().unwrap().into_iter().map(|backup| backup.name).collect()
}

#[test]
fn every_backup_comes_back() {
    let scratch = Scratch::new("whole");
    let (data, repository) = (scratch.path("data"), scratch.path("repository"));
    change(&data, |store| {
        let disk = store.create_volume("disk", &VolumeOptions::new((8 << 20) + 5)).unwrap();
        disk.write_at(0, &noise(3 << 20, 1)).unwrap();
        disk.write_at((8 << 20) - 1, b"a tail").unwrap();
    });
    minibak(&["init", &repository]).unwrap();
    assert!(minibak(&["init", &repository]).is_err(), "a repository is not made twice");

    let mut contents = Vec::new();
    for round in 0..4_u64 {
        change(&data, |store| {
            let mut disk = store.volume("disk").unwrap();
            disk.write_at(round * 10_001, &noise(5000, 100 + round)).unwrap();
            disk.trim(2 << 20, 4096 * round).unwrap();
            match round {
                2 => disk.resize((9 << 20) + 1, Shrink::Refused).unwrap(),
                3 => disk.resize(7 << 20, Shrink::Allowed).unwrap(),
                _ => {}
            }
            contents.push(content(&disk));
        });
        minibak(&["backup", &repository, "--from", &data, "disk"]).unwrap();
        change(&data, |store| {
            assert_eq!(store.snapshots("disk").unwrap().len(), 1, "the source keeps only the newest")
        });
    }
    let names = backups(&repository);
    assert_eq!(names.len(), 4);
    minibak(&["list", &repository]).unwrap();
    minibak(&["verify", &repository]).unwrap();
    minibak(&["verify", &repository, &names[0]]).unwrap();
    for (name, content) in names.iter().zip(&contents) {
        let image = scratch.path(name);
        minibak(&["restore", &repository, name, &image]).unwrap();
        assert!(fs::read(&image).unwrap() == *content, "{name}");
        assert!(minibak(&["restore", &repository, name, &image]).is_err(), "an image is not overwritten");
    }

    minibak(&["forget", &repository, "disk", "--keep", "2"]).unwrap();
    assert_eq!(backups(&repository), names[2..]);
    minibak(&["prune", &repository]).unwrap();
    minibak(&["verify", &repository]).unwrap();
    assert!(minibak(&["forget", &repository, "disk", "--keep", "0"]).is_err());
}

/// What a backup looked at and read.
fn backup(data: &str, repository: &str) -> crate::backup::Report {
    let (source, target) = (options().open(data).unwrap(), options().open(repository).unwrap());
    let (_, report) = crate::backup::backup(&source, &target, "disk").unwrap();
    source.close().unwrap();
    target.close().unwrap();
    report
}

#[test]
fn a_backup_reads_what_changed_and_no_more() {
    let scratch = Scratch::new("incremental");
    let (data, repository) = (scratch.path("data"), scratch.path("repository"));
    minibak(&["init", &repository]).unwrap();
    change(&data, |store| {
        let disk = store.create_volume("disk", &VolumeOptions::new(1 << 40)).unwrap();
        disk.write_at(1 << 39, &noise(8 << 20, 1)).unwrap();
    });
    assert_eq!(backup(&data, &repository).read, 8 << 20, "holes are not read");
    change(&data, |store| {
        let disk = store.volume("disk").unwrap();
        disk.write_at((1 << 39) + 10 * 4096, &noise(4096, 2)).unwrap();
        disk.write_at((1 << 39) + (1 << 20), &noise(8 << 20, 1)[1 << 20..2 << 20]).unwrap();
    });
    let report = backup(&data, &repository);
    assert_eq!(report.read, 4096, "what was written again with what it held is not read");
    assert!(report.changed >= 4096 && report.changed <= (1 << 20) + 4096, "{}", report.changed);
    assert_eq!(backup(&data, &repository).changed, 0);

    // Without the snapshot of the last backup all is compared, and nothing read.
    change(&data, |store| store.remove_snapshot("disk@minibak-3").unwrap());
    let report = backup(&data, &repository);
    assert_eq!((report.changed, report.read), (1 << 40, 0));
}

#[test]
fn a_backup_that_was_broken_off_leaves_no_trace() {
    let scratch = Scratch::new("broken");
    let (data, repository) = (scratch.path("data"), scratch.path("repository"));
    minibak(&["init", &repository]).unwrap();
    change(&data, |store| {
        let disk = store.create_volume("disk", &VolumeOptions::new(4 << 20)).unwrap();
        disk.write_at(0, &noise(1 << 20, 1)).unwrap();
    });
    minibak(&["backup", &repository, "--from", &data, "disk"]).unwrap();
    // As far as one came that was broken off: the source has the snapshot, the repository some of the content.
    change(&data, |store| drop(store.create_snapshot("disk@minibak-2").unwrap()));
    change(&repository, |store| store.volume("disk").unwrap().write_at(0, b"half of it").unwrap());
    minibak(&["backup", &repository, "--from", &data, "disk"]).unwrap();
    let name = backups(&repository).pop().unwrap();
    minibak(&["restore", &repository, &name, &scratch.path("image")]).unwrap();
    assert!(fs::read(Path::new(&scratch.path("image"))).unwrap()[..1 << 20] == noise(1 << 20, 1));
}

#[test]
fn another_volume_of_the_name_is_not_taken_for_the_one_before() {
    let scratch = Scratch::new("another");
    let (first, second, repository) = (scratch.path("first"), scratch.path("second"), scratch.path("repository"));
    minibak(&["init", &repository]).unwrap();
    for (data, seed) in [(&first, 1), (&second, 2)] {
        change(data, |store| {
            let disk = store.create_volume("disk", &VolumeOptions::new(4 << 20)).unwrap();
            disk.write_at(seed << 18, &noise(1 << 20, seed)).unwrap();
        });
    }
    change(&second, |store| drop(store.create_snapshot("disk@minibak-1").unwrap()));
    minibak(&["backup", &repository, "--from", &first, "disk"]).unwrap();
    minibak(&["backup", &repository, "--from", &second, "disk"]).unwrap();
    let name = backups(&repository).pop().unwrap();
    minibak(&["restore", &repository, &name, &scratch.path("image")]).unwrap();
    let mut expected = vec![0; 4 << 20];
    expected[2 << 18..(2 << 18) + (1 << 20)].copy_from_slice(&noise(1 << 20, 2));
    assert!(fs::read(scratch.path("image")).unwrap() == expected);
}

#[test]
fn directories_come_back() {
    let scratch = Scratch::new("directory");
    let (directory, repository) = (scratch.path("directory"), scratch.path("repository"));
    minibak(&["init", &repository]).unwrap();
    fs::create_dir_all(scratch.0.join("directory/below")).unwrap();
    fs::write(scratch.0.join("directory/below/large"), noise(5 << 20, 1)).unwrap();
    std::os::unix::fs::symlink("below/large", scratch.0.join("directory/link")).unwrap();
    minibak(&["backup-directory", &repository, &directory, "home"]).unwrap();
    fs::write(scratch.0.join("directory/a-new-one"), "before the large one").unwrap();
    minibak(&["backup-directory", &repository, &directory, "home"]).unwrap();
    assert!(minibak(&["backup-directory", &repository, &scratch.path("none"), "home"]).is_err());
    assert!(minibak(&["backup-directory", &repository, &directory, "a/b"]).is_err());
    minibak(&["list", &repository]).unwrap();
    minibak(&["verify", &repository]).unwrap();

    let [old, new] = ["home/0000000001", "home/0000000002"];
    let restored = scratch.path("restored");
    minibak(&["restore", &repository, new, &restored]).unwrap();
    let read = |name: &str| fs::read(Path::new(&restored).join(name)).unwrap();
    assert!(read("below/large") == noise(5 << 20, 1) && read("a-new-one") == b"before the large one");
    assert_eq!(fs::read_link(Path::new(&restored).join("link")).unwrap(), Path::new("below/large"));
    assert!(minibak(&["restore", &repository, new, &restored]).is_err(), "a directory is not overwritten");
    minibak(&["restore", &repository, old, &scratch.path("old")]).unwrap();
    assert!(!Path::new(&scratch.path("old")).join("a-new-one").exists());

    minibak(&["forget", &repository, "home", "--keep", "1"]).unwrap();
    let store = options().read_only(true).open(&repository).unwrap();
    let names: Vec<_> = store.objects("").map(|object| object.unwrap().name).collect();
    assert_eq!(names, [new], "half an archive is no backup");
}
