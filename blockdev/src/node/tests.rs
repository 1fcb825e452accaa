use std::fs;
use std::path::PathBuf;

use lsm_store::ErrorKind;
use lsm_store::clock::SystemClock;
use lsm_store::codec::Codec;
use lsm_store::device::AccessMode;
use lsm_store::device::directory::DirectoryDevice;
use lsm_store::request::Write;
use lsm_store::rng::SystemRng;
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings};

use super::*;

/// A store in a directory of its own, which goes at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("blockdev-node-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let scratch = Self(path);
        Store::create(&scratch.environment(AccessMode::ReadWrite), Settings::default()).unwrap();
        scratch
    }

    fn environment(&self, access_mode: AccessMode) -> Environment {
        let device = DirectoryDevice::open(&self.0, access_mode).unwrap();
        Environment { device: Arc::new(device), clock: Arc::new(SystemClock::new()), rng: Arc::new(SystemRng) }
    }

    fn node(&self, read_only: bool) -> Result<Arc<Node>> {
        let budget = Budget::new(128 << 20).unwrap();
        let options = Options { budget, background: BackgroundMode::Threads, read_only };
        let access_mode = if read_only { AccessMode::ReadOnly } else { AccessMode::ReadWrite };
        Node::open(Store::open(self.environment(access_mode), options)?, read_only)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

const SPEC: VolumeSpec = VolumeSpec { size_bytes: 1 << 20, codec: Codec::Lz4 };

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("it fails").kind()
}

#[test]
fn names_last_and_are_unique() {
    let scratch = Scratch::new("names");
    let node = scratch.node(false).unwrap();
    let first = node.create(&name("demo"), SPEC).unwrap();
    assert_eq!(kind(node.create(&name("demo"), SPEC)), ErrorKind::Exists);
    node.create(&name("also"), SPEC).unwrap();
    assert_eq!(node.names(), ["also", "demo"]);
    drop(node);

    let node = scratch.node(false).unwrap();
    assert_eq!(node.names(), ["also", "demo"]);
    assert_eq!(node.volume(&name("demo")).unwrap().info.id, first.info.id);
    node.remove(&name("demo")).unwrap();
    assert_eq!(kind(node.volume(&name("demo"))), ErrorKind::NotFound);
    assert_ne!(node.create(&name("demo"), SPEC).unwrap().info.id, first.info.id, "ids are never reused");
}

#[test]
fn a_volume_in_use_is_neither_removed_nor_cut() {
    let scratch = Scratch::new("in-use");
    let node = scratch.node(false).unwrap();
    node.create(&name("demo"), SPEC).unwrap();
    let export = node.export(&name("demo")).unwrap();
    assert_eq!(node.volume(&name("demo")).unwrap().connections, 1);
    assert_eq!(kind(node.remove(&name("demo"))), ErrorKind::Busy);
    assert_eq!(kind(node.resize(&name("demo"), 4096, Shrink::Allowed)), ErrorKind::Busy);
    node.resize(&name("demo"), 2 << 20, Shrink::Refused).unwrap();
    assert_eq!(export.size_bytes(), 2 << 20);
    drop(export);
    assert_eq!(kind(node.resize(&name("demo"), 4096, Shrink::Refused)), ErrorKind::Invalid);
    assert_eq!(node.resize(&name("demo"), 4096, Shrink::Allowed).unwrap().info.size_bytes, 4096);
    node.remove(&name("demo")).unwrap();
}

#[test]
fn an_import_is_nobodys_until_it_is_finished() {
    let scratch = Scratch::new("import");
    let node = scratch.node(false).unwrap();
    let import = node.import(&name("demo"), SPEC).unwrap();
    assert_eq!(node.volume(&name("demo")).unwrap().state, State::Importing);
    assert!(node.names().is_empty());
    assert_eq!(kind(node.export(&name("demo")).map(drop)), ErrorKind::Busy);
    assert_eq!(kind(node.remove(&name("demo"))), ErrorKind::Busy);
    import.volume().write(&[Write { offset: 0, data: b"content" }]).unwrap();
    assert_eq!(import.finish(5000).unwrap().info.size_bytes, 5000);
    assert_eq!(node.names(), ["demo"]);
}

#[test]
fn an_import_that_is_given_up_leaves_nothing() {
    let scratch = Scratch::new("given-up");
    let node = scratch.node(false).unwrap();
    drop(node.import(&name("demo"), SPEC).unwrap());
    assert!(node.volumes().is_empty());
    assert!(node.store().volumes().is_empty());
    node.create(&name("demo"), SPEC).unwrap();
}

#[test]
fn an_import_that_a_crash_cut_short_goes_at_the_next_start_for_writing() {
    let scratch = Scratch::new("crash");
    let node = scratch.node(false).unwrap();
    node.create(&name("kept"), SPEC).unwrap();
    node.import(&name("demo"), SPEC).unwrap().vanish();
    drop(node);

    let node = scratch.node(true).unwrap();
    assert_eq!(node.volumes().len(), 2, "looking changes nothing");
    drop(node);
    let node = scratch.node(false).unwrap();
    assert_eq!(node.names(), ["kept"]);
    assert_eq!(node.store().volumes().len(), 1);
}

#[test]
fn clients_cannot_tell_a_bad_name_from_an_unknown_one() {
    let scratch = Scratch::new("unknown");
    let node = scratch.node(false).unwrap();
    let _import = node.import(&name("half"), SPEC).unwrap();
    let message = |text: &str| Exports::open(&*node, text).err().unwrap().to_string();
    assert_eq!(message("nothing"), message("../../etc"));
    assert_eq!(message("nothing"), message("half"));
}
