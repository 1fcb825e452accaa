mod objects;
mod receptions;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lsm_store::ErrorKind;
use lsm_store::clock::{Clock, SystemClock};
use lsm_store::codec::Codec;
use lsm_store::device::AccessMode;
use lsm_store::device::directory::DirectoryDevice;
use lsm_store::request::Write;
use lsm_store::rng::SystemRng;
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, ScrubSettings, Settings};

use super::*;
use crate::schedule::Schedule;
use crate::span::Span;

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

    /// A node whose calendar the test sets.
    fn node_at(&self, calendar: &Arc<Calendar>) -> Arc<Node> {
        let environment = self.environment(AccessMode::ReadWrite);
        let environment = Environment { clock: Arc::clone(calendar) as Arc<dyn Clock>, ..environment };
        let budget = Budget::new(128 << 20).unwrap();
        let options = Options { budget, background: BackgroundMode::Threads, read_only: false };
        Node::open(Store::open(environment, options).unwrap(), false).unwrap()
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

/// The machine's clock, with a date of its own.
struct Calendar {
    system: SystemClock,
    wall_ms: AtomicU64,
}

impl Calendar {
    fn new(wall_ms: u64) -> Arc<Self> {
        Arc::new(Self { system: SystemClock::new(), wall_ms: wall_ms.into() })
    }

    fn advance(&self, seconds: u64) {
        self.wall_ms.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

impl Clock for Calendar {
    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) {
        self.system.sleep(duration);
    }
}

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn export_name(text: &str) -> ExportName {
    text.parse().unwrap()
}

fn snapshot_name(text: &str) -> SnapshotName {
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
    node.remove(&name("demo"), SnapshotLoss::Refused).unwrap();
    assert_eq!(kind(node.volume(&name("demo"))), ErrorKind::NotFound);
    assert_ne!(node.create(&name("demo"), SPEC).unwrap().info.id, first.info.id, "ids are never reused");
}

#[test]
fn a_volume_in_use_is_neither_removed_nor_cut() {
    let scratch = Scratch::new("in-use");
    let node = scratch.node(false).unwrap();
    node.create(&name("demo"), SPEC).unwrap();
    let export = node.export(&export_name("demo")).unwrap();
    assert_eq!(node.volume(&name("demo")).unwrap().connections, 1);
    assert_eq!(kind(node.remove(&name("demo"), SnapshotLoss::Refused)), ErrorKind::Busy);
    assert_eq!(kind(node.resize(&name("demo"), 4096, Shrink::Allowed)), ErrorKind::Busy);
    node.resize(&name("demo"), 2 << 20, Shrink::Refused).unwrap();
    assert_eq!(export.size_bytes(), 2 << 20);
    drop(export);
    assert_eq!(kind(node.resize(&name("demo"), 4096, Shrink::Refused)), ErrorKind::Invalid);
    assert_eq!(node.resize(&name("demo"), 4096, Shrink::Allowed).unwrap().info.size_bytes, 4096);
    node.remove(&name("demo"), SnapshotLoss::Refused).unwrap();
}

#[test]
fn an_import_is_nobodys_until_it_is_finished() {
    let scratch = Scratch::new("import");
    let node = scratch.node(false).unwrap();
    let import = node.import(&name("demo"), SPEC).unwrap();
    assert_eq!(node.volume(&name("demo")).unwrap().state, State::Importing);
    assert!(node.names().is_empty());
    assert_eq!(kind(node.export(&export_name("demo")).map(drop)), ErrorKind::Busy);
    assert_eq!(kind(node.remove(&name("demo"), SnapshotLoss::Refused)), ErrorKind::Busy);
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
    let message = |text: &str| Exports::open(&*node, text, &Principal::Local).err().unwrap().to_string();
    assert_eq!(message("nothing"), message("../../etc"));
    assert_eq!(message("nothing"), message("half"));
}

/// What `VolumeChanges` says of a range, as (offset, length) of what changed.
fn changed(node: &Node, from: &str, to: &str, extents_max: usize) -> Vec<(u64, u64)> {
    let changes = node.changes(&export_name(from), &export_name(to)).unwrap();
    let end = changes.from().1.max(changes.to().1);
    let (mut at, mut found) = (0, Vec::new());
    while at < end {
        let extents = changes.extents(at, end - at, extents_max).unwrap();
        assert!(!extents.is_empty() && extents.len() <= extents_max);
        for extent in extents {
            found.extend(extent.changed.then_some((at, extent.len)));
            at += extent.len;
        }
    }
    assert_eq!(at, end);
    found
}

#[test]
fn changes_are_told_of_what_shares_a_past() {
    let scratch = Scratch::new("changes");
    let node = scratch.node(false).unwrap();
    node.create(&name("demo"), SPEC).unwrap();
    fill(&node, "demo", 1);
    node.snapshot(&[snapshot_name("demo@s")]).unwrap();
    node.clone_volume(&export_name("demo@s"), &name("copy")).unwrap();
    assert_eq!(changed(&node, "demo@s", "demo", 9), []);
    let export = node.export(&export_name("demo")).unwrap();
    for offset in [4096, 65536] {
        export.write(&[Write { offset, data: &[2; 4096] }]).unwrap();
    }
    let both = [(4096, 4096), (65536, 4096)];
    for (from, to) in [("demo@s", "demo"), ("demo", "demo@s"), ("copy", "demo")] {
        for extents_max in [1, 2, 3, 9] {
            assert_eq!(changed(&node, from, to, extents_max), both, "{from} to {to}");
        }
    }
    assert_eq!(kind(node.remove(&name("demo"), SnapshotLoss::Allowed)), ErrorKind::Busy);
    drop(export);

    // What only one of them has room for, also where the map has nothing of it any more.
    node.resize(&name("demo"), 2 << 20, Shrink::Refused).unwrap();
    node.store().close().unwrap();
    drop(node);
    let node = scratch.node(false).unwrap();
    for (from, to) in [("demo@s", "demo"), ("demo", "demo@s")] {
        for extents_max in [1, 4, 9] {
            let grown = [both[0], both[1], (1 << 20, 1 << 20)];
            assert_eq!(changed(&node, from, to, extents_max), grown, "{from} to {to}");
        }
    }
    let changes = node.changes(&export_name("demo@s"), &export_name("demo")).unwrap();
    assert_eq!(changes.extents(2 << 20, 1, 1).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(changes.extents(u64::MAX, 2, 1).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(kind(node.remove_snapshot(&snapshot_name("demo@s"))), ErrorKind::Busy);
    drop(changes);
    node.snapshot(&[snapshot_name("demo@a")]).unwrap();
    let snapshots = |of: &str| Exports::snapshots(&*node, of, &Principal::Local);
    assert_eq!((snapshots("demo"), snapshots("demo@a")), (vec!["a".to_owned(), "s".to_owned()], vec!["s".to_owned()]));
    assert!(["demo@s", "copy", "demo@t", "nobody", "?"].iter().all(|of| snapshots(of).is_empty()));
    let changes = node.changes_since("demo", "s", &Principal::Local).unwrap();
    assert_eq!(changes.extents(0, 8192, 9).unwrap().len(), 2);
    assert_eq!(kind(node.remove_snapshot(&snapshot_name("demo@s"))), ErrorKind::Busy);
    drop(changes);
    assert!(["?", "t"].iter().all(|snapshot| node.changes_since("demo", snapshot, &Principal::Local).is_err()));
    node.resize(&name("demo"), 4096, Shrink::Allowed).unwrap();
    assert_eq!(changed(&node, "demo@s", "demo", 9), [(4096, (1 << 20) - 4096)]);

    node.create(&name("stranger"), SPEC).unwrap();
    assert!(matches!(
        node.changes(&export_name("demo"), &export_name("stranger")).err(),
        Some(NodeError::Unrelated { .. })
    ));
    assert_eq!(kind(node.changes(&export_name("demo@t"), &export_name("demo")).map(drop)), ErrorKind::NotFound);
}

/// Fills the beginning of a volume.
fn fill(node: &Node, volume: &str, byte: u8) {
    let export = node.export(&export_name(volume)).unwrap();
    export.write(&[Write { offset: 0, data: &[byte; 8192] }]).unwrap();
}

/// The first byte of a volume or snapshot.
fn first_byte(node: &Node, text: &str) -> u8 {
    let mut reads = node.export(&export_name(text)).unwrap().requests().unwrap();
    reads.start_read(0, 0, 1);
    loop {
        if let Some((_, data)) = reads.next_read() {
            let mut byte = [0];
            data.unwrap().copy_to(&mut byte);
            return byte[0];
        }
        reads.wait(None, None).unwrap();
    }
}

#[test]
fn snapshots_keep_what_was_there_and_their_names_last() {
    let scratch = Scratch::new("snapshots");
    let node = scratch.node(false).unwrap();
    for (volume, byte) in [("a", 1), ("b", 2)] {
        node.create(&name(volume), SPEC).unwrap();
        fill(&node, volume, byte);
    }
    let both = [snapshot_name("b@old"), snapshot_name("a@old")];
    let made = node.snapshot(&both).unwrap();
    assert_eq!(made.iter().map(|one| one.name.to_string()).collect::<Vec<_>>(), ["b@old", "a@old"]);
    assert_eq!(kind(node.snapshot(&[snapshot_name("a@new"), snapshot_name("b@old")])), ErrorKind::Exists);
    assert_eq!(kind(node.find_snapshot(&snapshot_name("a@new"))), ErrorKind::NotFound, "all or none");
    assert_eq!(kind(node.snapshot(&[snapshot_name("a@x"), snapshot_name("a@y")])), ErrorKind::Invalid);
    assert_eq!(kind(node.snapshot(&[snapshot_name("c@x")])), ErrorKind::NotFound);
    fill(&node, "a", 3);
    node.snapshot(&[snapshot_name("a@middle")]).unwrap();
    assert_eq!(node.rename_snapshot(&snapshot_name("a@old"), &name("first")).unwrap().info.id, made[1].info.id);
    assert_eq!(kind(node.rename_snapshot(&snapshot_name("a@first"), &name("middle"))), ErrorKind::Exists);
    drop(node);

    let node = scratch.node(false).unwrap();
    let names = |snapshots: &[NamedSnapshot]| snapshots.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&node.all_snapshots()), ["a@first", "a@middle", "b@old"]);
    assert_eq!(names(&node.snapshots(&name("a")).unwrap()), ["a@first", "a@middle"]);
    assert_eq!(node.names(), ["a", "a@first", "a@middle", "b", "b@old"]);
    assert_eq!(node.volume(&name("a")).unwrap().snapshots, 2);
    let bytes = ["a", "a@first", "a@middle", "b", "b@old"].map(|text| first_byte(&node, text));
    assert_eq!(bytes, [3, 1, 3, 2, 2]);
    let frozen = node.export(&export_name("a@first")).unwrap();
    assert!(frozen.is_read_only());
    assert_eq!(frozen.write(&[Write { offset: 0, data: b"x" }]).unwrap_err().kind(), ErrorKind::ReadOnly);
}

#[test]
fn what_clients_have_open_is_not_changed_under_them() {
    let scratch = Scratch::new("snapshots-in-use");
    let node = scratch.node(false).unwrap();
    node.create(&name("demo"), SPEC).unwrap();
    fill(&node, "demo", 1);
    let client = node.export(&export_name("demo")).unwrap();
    node.snapshot(&[snapshot_name("demo@s")]).unwrap();
    node.clone_volume(&export_name("demo"), &name("copy")).unwrap();
    assert_eq!(kind(node.roll_back(&snapshot_name("demo@s"))), ErrorKind::Busy);
    drop(client);

    let client = node.export(&export_name("demo@s")).unwrap();
    assert_eq!(node.find_snapshot(&snapshot_name("demo@s")).unwrap().connections, 1);
    fill(&node, "demo", 2);
    node.roll_back(&snapshot_name("demo@s")).unwrap();
    assert_eq!(first_byte(&node, "demo"), 1);
    assert_eq!(kind(node.remove_snapshot(&snapshot_name("demo@s"))), ErrorKind::Busy);
    assert_eq!(kind(node.rename_snapshot(&snapshot_name("demo@s"), &name("t"))), ErrorKind::Busy);
    assert_eq!(kind(node.remove(&name("demo"), SnapshotLoss::Allowed)), ErrorKind::Busy);
    assert_eq!(node.names(), ["copy", "demo", "demo@s"], "a refused removal removes nothing");
    drop(client);
    assert_eq!(kind(node.remove(&name("demo"), SnapshotLoss::Refused)), ErrorKind::Invalid);
    node.remove(&name("demo"), SnapshotLoss::Allowed).unwrap();
    assert_eq!((node.names(), node.store().volumes().len()), (vec!["copy".to_owned()], 1));
}

#[test]
fn a_clone_knows_its_origin_by_id() {
    let scratch = Scratch::new("clones");
    let node = scratch.node(false).unwrap();
    let demo = node.create(&name("demo"), SPEC).unwrap();
    let snapshot = node.snapshot(&[snapshot_name("demo@s")]).unwrap().remove(0);
    node.clone_volume(&export_name("demo@s"), &name("of-s")).unwrap();
    node.clone_volume(&export_name("demo"), &name("of-now")).unwrap();
    node.clone_volume(&export_name("of-s"), &name("of-of-s")).unwrap();
    assert_eq!(kind(node.clone_volume(&export_name("demo"), &name("of-s"))), ErrorKind::Exists);
    assert_eq!(kind(node.clone_volume(&export_name("demo@t"), &name("new"))), ErrorKind::NotFound);
    drop(node);

    let node = scratch.node(false).unwrap();
    let children = |of: &str| {
        let children = node.children(&export_name(of)).unwrap();
        children.iter().map(|volume| volume.name.to_string()).collect::<Vec<_>>()
    };
    let origin = || node.volume(&name("of-s")).unwrap().origin.unwrap();
    assert_eq!((children("demo"), children("demo@s")), (vec!["of-now".into(), "of-s".into()], vec!["of-s".into()]));
    assert_eq!((children("of-s"), children("of-now")), (vec!["of-of-s".into()], vec![]));
    let ids = Origin { volume: demo.info.id, snapshot: Some(snapshot.info.id) };
    assert_eq!(origin(), NamedOrigin { ids, volume: Some(name("demo")), snapshot: Some(snapshot_name("demo@s")) });
    node.rename_snapshot(&snapshot_name("demo@s"), &name("t")).unwrap();
    assert_eq!(origin().snapshot, Some(snapshot_name("demo@t")));
    node.remove_snapshot(&snapshot_name("demo@t")).unwrap();
    node.snapshot(&[snapshot_name("demo@t")]).unwrap();
    assert_eq!(origin(), NamedOrigin { ids, volume: Some(name("demo")), snapshot: None });
    assert!(children("demo@t").is_empty(), "another snapshot of the same name has no children");
    node.remove(&name("demo"), SnapshotLoss::Allowed).unwrap();
    node.create(&name("demo"), SPEC).unwrap();
    assert_eq!(origin(), NamedOrigin { ids, volume: None, snapshot: None });
    assert!(children("demo").is_empty(), "another volume of the same name has no children");
    assert_eq!(
        node.volume(&name("of-now")).unwrap().origin.unwrap().ids,
        Origin { volume: demo.info.id, snapshot: None }
    );
}

/// The names in the trash.
fn in_trash(node: &Node) -> Vec<String> {
    node.trash().iter().map(|volume| volume.trashed.name.to_string()).collect()
}

#[test]
fn what_is_in_the_trash_comes_back_until_its_time_is_over() {
    const DAY: u64 = 86_400;
    let scratch = Scratch::new("trash");
    let calendar = Calendar::new(1_800_000_000_000);
    let node = scratch.node_at(&calendar);
    let keep = |days| Span::from_seconds(days * DAY).unwrap();
    for (volume, byte) in [("a", 1), ("b", 2)] {
        node.create(&name(volume), SPEC).unwrap();
        fill(&node, volume, byte);
        node.snapshot(&[format!("{volume}@s").parse().unwrap()]).unwrap();
    }
    let client = node.export(&export_name("a@s")).unwrap();
    assert_eq!(kind(node.discard(&name("a"), SnapshotLoss::Refused, keep(1))), ErrorKind::Invalid);
    assert_eq!(kind(node.discard(&name("a"), SnapshotLoss::Allowed, keep(1))), ErrorKind::Busy);
    drop(client);
    let a = node.discard(&name("a"), SnapshotLoss::Allowed, keep(1)).unwrap();
    assert_eq!((a.snapshots, a.trashed.expires_ms - a.trashed.removed_ms), (1, DAY * 1000));
    calendar.advance(1);
    node.discard(&name("b"), SnapshotLoss::Allowed, keep(2)).unwrap();
    assert_eq!((in_trash(&node), node.names()), (vec!["a".into(), "b".into()], vec![]));
    calendar.advance(DAY - 2);
    node.tend().unwrap();
    drop(node);

    let node = scratch.node_at(&calendar);
    assert_eq!(in_trash(&node), ["a", "b"]);
    calendar.advance(1);
    node.tend().unwrap();
    assert_eq!(in_trash(&node), ["b"]);
    assert_eq!(node.store().volumes().len(), 2, "with its snapshot");
    let named = |text: &str, id| TrashName { name: name(text), id };
    assert_eq!(kind(node.restore(&named("a", None), None)), ErrorKind::NotFound);
    node.create(&name("b"), SPEC).unwrap();
    assert_eq!(kind(node.restore(&named("b", None), None)), ErrorKind::Exists);
    node.discard(&name("b"), SnapshotLoss::Refused, keep(1)).unwrap();
    let several = node.restore(&named("b", None), None).unwrap_err();
    let NodeError::SeveralInTrash { ids, .. } = several else { panic!("{several}") };
    assert_eq!(kind(node.restore(&named("b", Some(a.info.id)), None)), ErrorKind::NotFound);
    assert_eq!(kind(node.restore(&named("a", Some(ids[0])), None)), ErrorKind::NotFound);
    assert_eq!(node.restore(&named("b", Some(ids[0])), Some(&name("back"))).unwrap().snapshots, 1);
    assert_eq!((first_byte(&node, "back"), first_byte(&node, "back@s")), (2, 2));
    node.purge(&Purge::All).unwrap();
    drop(node);

    let node = scratch.node_at(&calendar);
    assert_eq!((node.trash().len(), node.names()), (0, vec!["back".to_owned(), "back@s".to_owned()]));
    assert_eq!(node.store().volumes().len(), 2);
}

/// A crash between the removal of a snapshot and that of its volume leaves the rest in the trash.
#[test]
fn a_purge_that_was_cut_short_goes_on() {
    let scratch = Scratch::new("purge");
    let node = scratch.node(false).unwrap();
    let id = node.create(&name("demo"), SPEC).unwrap().info.id;
    for snapshot in ["demo@a", "demo@b"] {
        node.snapshot(&[snapshot_name(snapshot)]).unwrap();
    }
    node.discard(&name("demo"), SnapshotLoss::Allowed, Span::from_seconds(9).unwrap()).unwrap();
    let gone = node.catalog.read().snapshot(id, &name("a")).unwrap();
    node.drop_snapshot(&mut node.catalog.write(), id, &name("a"), gone, None).unwrap();
    drop(node);

    let node = scratch.node(false).unwrap();
    assert_eq!(node.trash()[0].snapshots, 1);
    let demo = TrashName { name: name("demo"), id: Some(id) };
    assert_eq!(node.purge(&Purge::One(demo)).unwrap()[0].snapshots, 1);
    assert!(node.store().volumes().is_empty());
}

#[cfg(feature = "cluster")]
mod replicas;

#[test]
fn the_thread_of_duties_tends_the_node() {
    let scratch = Scratch::new("duties");
    let calendar = Calendar::new(1_800_000_000_000);
    let node = scratch.node_at(&calendar);
    node.create(&name("demo"), SPEC).unwrap();
    node.discard(&name("demo"), SnapshotLoss::Refused, Span::from_seconds(60).unwrap()).unwrap();
    calendar.advance(60);
    let duties = Duties::start(Arc::clone(&node)).unwrap();
    while !node.trash().is_empty() {
        std::thread::yield_now();
    }
    drop(duties);
    assert_eq!(Arc::strong_count(&node), 1);
}

#[test]
fn nothing_is_removed_for_a_while_after_the_clock_has_jumped_ahead() {
    let scratch = Scratch::new("jump");
    let calendar = Calendar::new(1_800_000_000_000);
    let node = scratch.node_at(&calendar);
    for (volume, keep_s) in [("old", 60), ("young", 120)] {
        node.create(&name(volume), SPEC).unwrap();
        node.discard(&name(volume), SnapshotLoss::Refused, Span::from_seconds(keep_s).unwrap()).unwrap();
    }
    calendar.advance(60);
    let duties = Duties::start(Arc::clone(&node)).unwrap();
    while node.trash().len() > 1 {
        std::thread::yield_now();
    }
    calendar.advance(86_400);
    let has_jumped = || node.events().since(0).iter().any(|event| event.kind == crate::events::kind::CLOCK_JUMPED);
    while !has_jumped() {
        calendar.sleep(Duration::from_millis(5));
    }
    calendar.sleep(Duration::from_millis(50));
    assert_eq!(node.trash().len(), 1);
    drop(duties);
    node.tend().unwrap();
    assert!(node.trash().is_empty(), "its time is over by this clock");
}

/// Makes a node tend for so many seconds, second by second, with a write to `demo` each second if `writing`.
fn tend_for(node: &Node, calendar: &Calendar, seconds: u64, writing: bool) {
    for second in 0..seconds {
        calendar.advance(1);
        if writing {
            fill(node, "demo", second as u8);
        }
        node.tend().unwrap();
    }
}

/// The names of the snapshots of `demo`, without it.
fn snapshot_names(node: &Node) -> Vec<String> {
    node.snapshots(&name("demo")).unwrap().iter().map(|one| one.name.snapshot.to_string()).collect()
}

#[test]
fn schedules_are_followed_also_after_a_restart() {
    let scratch = Scratch::new("schedules");
    // 2026-11-26 07:15:00.
    let calendar = Calendar::new(1_795_677_300_000);
    let node = scratch.node_at(&calendar);
    node.create(&name("demo"), SPEC).unwrap();
    node.snapshot(&[snapshot_name("demo@mine")]).unwrap();
    let schedule = Schedule::parse("10s", "10s:30s,1m:3m").unwrap();
    assert_eq!(node.set_schedule(&name("demo"), Some(schedule.clone())).unwrap().schedule, Some(schedule.clone()));
    tend_for(&node, &calendar, 25, true);
    let first = ["mine", "auto-20261126t071501z", "auto-20261126t071510z", "auto-20261126t071520z"];
    assert_eq!(snapshot_names(&node), first);
    drop(node);

    let node = scratch.node_at(&calendar);
    assert_eq!(node.volume(&name("demo")).unwrap().schedule, Some(schedule));
    tend_for(&node, &calendar, 4, true);
    assert_eq!(snapshot_names(&node), first, "this step has its own");
    tend_for(&node, &calendar, 271, true);
    let times = ["071700", "071800", "071900", "071930", "071940", "071950", "072000"];
    let thinned = times.map(|time| format!("auto-20261126t{time}z"));
    assert_eq!(snapshot_names(&node), [&["mine".to_owned()], &thinned[..]].concat());

    // Nothing is written: nothing is made, and what is too old goes.
    tend_for(&node, &calendar, 600, false);
    assert_eq!(snapshot_names(&node), ["mine", "auto-20261126t072000z"]);
    let client = node.export(&export_name("demo@auto-20261126t072000z")).unwrap();
    tend_for(&node, &calendar, 70, true);
    assert!(snapshot_names(&node).contains(&"auto-20261126t072000z".to_owned()), "somebody reads it");
    drop(client);
    tend_for(&node, &calendar, 10, true);
    assert!(!snapshot_names(&node).contains(&"auto-20261126t072000z".to_owned()));

    // A volume in the trash keeps its schedule, and one that is removed leaves none.
    let before = snapshot_names(&node);
    node.discard(&name("demo"), SnapshotLoss::Allowed, Span::from_seconds(9999).unwrap()).unwrap();
    calendar.advance(60);
    node.tend().unwrap();
    node.restore(&TrashName { name: name("demo"), id: None }, None).unwrap();
    assert_eq!(snapshot_names(&node), before);
    assert!(node.volume(&name("demo")).unwrap().schedule.is_some());
    node.set_schedule(&name("demo"), None).unwrap();
    tend_for(&node, &calendar, 60, true);
    assert_eq!(snapshot_names(&node), before, "no schedule, no change");
    node.set_schedule(&name("demo"), Some(Schedule::parse("1h", "1h:1d").unwrap())).unwrap();
    node.remove(&name("demo"), SnapshotLoss::Allowed).unwrap();
    assert_eq!(node.store().records(), []);
}

#[test]
fn a_volume_goes_back_to_a_time() {
    let scratch = Scratch::new("rewind");
    let calendar = Calendar::new(1_795_677_300_000);
    let node = scratch.node_at(&calendar);
    let start_ms = node.wall_ms();
    node.create(&name("demo"), SPEC).unwrap();
    for byte in [1, 2, 3] {
        fill(&node, "demo", byte);
        node.snapshot(&[format!("demo@s{byte}").parse().unwrap()]).unwrap();
        calendar.advance(10);
    }
    fill(&node, "demo", 4);
    assert_eq!(kind(node.rewind(&name("demo"), start_ms - 1)), ErrorKind::NotFound);
    let client = node.export(&export_name("demo")).unwrap();
    assert_eq!(kind(node.rewind(&name("demo"), start_ms)), ErrorKind::Busy);
    let copy = node.clone_from_time(&name("demo"), start_ms + 9_999, &name("copy")).unwrap();
    assert_eq!((copy.to.to_string(), first_byte(&node, "copy")), ("demo@s1".into(), 1));
    drop(client);
    assert_eq!(node.snapshots(&name("demo")).unwrap().len(), 3, "a refused rewind leaves no snapshot");
    for (at, to, byte) in [(10_000, "demo@s2", 2), (25_000, "demo@s3", 3)] {
        let rewound = node.rewind(&name("demo"), start_ms + at).unwrap();
        assert_eq!((rewound.to.to_string(), first_byte(&node, "demo")), (to.into(), byte));
    }
    let before = ["rewind-20261126t071530z", "rewind-20261126t071530z-2"];
    assert_eq!(snapshot_names(&node)[3..], before);
    assert_eq!(before.map(|snapshot| first_byte(&node, &format!("demo@{snapshot}"))), [4, 2]);
}

#[test]
fn a_scrub_begins_when_the_last_one_is_old_enough() {
    let scratch = Scratch::new("scrub");
    let day = 24 * 60 * 60;
    let calendar = Calendar::new(SystemClock::new().wall().as_millis() as u64);
    let node = scratch.node_at(&calendar);
    let completed = || node.store().scrub_status().completed_ms;
    let finish = || {
        while node.store().scrub_status().pass.is_some() {
            calendar.sleep(Duration::from_millis(5));
        }
    };
    node.tend().unwrap();
    assert_eq!((node.store().scrub_schedule().under_way, completed()), (false, None), "the store is new");
    calendar.advance(31 * day);
    node.tend().unwrap();
    finish();
    let first = completed();
    assert!(first.is_some());
    calendar.advance(29 * day);
    node.tend().unwrap();
    assert_eq!((node.store().scrub_schedule().under_way, completed()), (false, first));
    calendar.advance(2 * day);
    node.store().pause_scrub().unwrap();
    node.tend().unwrap();
    assert_eq!(node.store().scrub_status().pass, None, "it is paused");
    node.store().resume_scrub().unwrap();
    let settings = node.store().scrub_status().settings;
    node.store().set_scrub(ScrubSettings { every: None, ..settings }).unwrap();
    node.tend().unwrap();
    assert_eq!((node.store().scrub_schedule().under_way, completed()), (false, first), "it is off");
    node.store().set_scrub(settings).unwrap();
    node.tend().unwrap();
    finish();
    assert!(completed() > first);
    node.store().close().unwrap();
}

fn limits(reserve_bytes: Option<u64>, quota_bytes: Option<u64>) -> Limits {
    Limits { reserve_bytes, quota_bytes }
}

#[test]
fn limits_last_as_long_as_the_volume() {
    let scratch = Scratch::new("limits");
    let demo = name("demo");
    {
        let node = scratch.node(false).unwrap();
        let both = limits(Some(64 << 10), Some(128 << 10));
        assert_eq!(node.create_limited(&demo, SPEC, both).unwrap().limits, both);
        assert_eq!(node.store().status().reserved_bytes, 64 << 10);
        // What cannot be is not, and neither is the volume.
        assert_eq!(kind(node.create_limited(&name("big"), SPEC, limits(Some(2 << 20), None))), ErrorKind::Invalid);
        assert_eq!(kind(node.volume(&name("big"))), ErrorKind::NotFound);
        let huge = VolumeSpec { size_bytes: 1 << 50, codec: Codec::Lz4 };
        let refused = node.create_limited(&name("big"), huge, limits(Some(1 << 50), None));
        assert_eq!(kind(refused), ErrorKind::OutOfSpace);
        assert_eq!(kind(node.set_limits(&demo, limits(Some(9), Some(8)))), ErrorKind::Invalid);
        assert_eq!(node.volume(&demo).unwrap().limits, both);
        assert_eq!(node.clone_volume(&demo.clone().into(), &name("copy")).unwrap().limits, Limits::default());
        node.store().close().unwrap();
    }
    let node = scratch.node(false).unwrap();
    let quota = limits(None, Some(128 << 10));
    assert_eq!(node.set_limits(&demo, quota).unwrap().limits, quota);
    assert_eq!(node.store().status().reserved_bytes, 0);
    node.set_limits(&demo, limits(Some(64 << 10), Some(128 << 10))).unwrap();
    // What is in the trash has nothing reserved, and what comes back has what it had.
    node.discard(&demo, SnapshotLoss::Refused, Span::from_seconds(60).unwrap()).unwrap();
    assert_eq!(node.store().status().reserved_bytes, 0);
    let trashed = TrashName { name: demo.clone(), id: None };
    assert_eq!(node.restore(&trashed, None).unwrap().limits, limits(Some(64 << 10), Some(128 << 10)));
    assert_eq!(node.store().status().reserved_bytes, 64 << 10);
    let export = node.export(&demo.clone().into()).unwrap();
    let write = |offset, data: &[u8]| export.write(&[Write { offset, data }]).map_err(|error| error.kind());
    write(0, &[1; 128 << 10]).unwrap();
    // What the volume maps is counted in the background; until then it may take more.
    let clock = SystemClock::new();
    let refused = (0..100).find_map(|block| {
        clock.sleep(Duration::from_millis(10));
        write((512 << 10) + block * 4096, &[1; 4096]).err()
    });
    assert_eq!(refused, Some(ErrorKind::OutOfSpace));
    drop(export);
    node.remove(&demo, SnapshotLoss::Refused).unwrap();
    let records = node.store().records();
    assert!(records.iter().all(|record| !record.key.starts_with(b"limits/")), "{records:?}");
}

#[test]
fn lists_say_who_may_open_a_volume_and_go_with_its_data() {
    let scratch = Scratch::new("allow");
    let (demo, copy) = (name("demo"), name("copy"));
    let backup = Principal::Certified(vec!["backup".into()]);
    let other = Principal::Certified(vec!["other".into()]);
    let names = |node: &Node, client: &Principal| Exports::names(node, client);
    let opens = |node: &Node, text: &str, client: &Principal| Exports::open(node, text, client).is_ok();
    {
        let node = scratch.node(false).unwrap();
        node.create(&demo, SPEC).unwrap();
        node.create(&name("open"), SPEC).unwrap();
        node.snapshot(&[snapshot_name("demo@s")]).unwrap();
        assert!(opens(&node, "demo", &Principal::Anonymous), "no list is for everybody");
        let list: AllowList = "backup,desk".parse().unwrap();
        assert_eq!(node.set_allow(&demo, list.clone()).unwrap().allow, list);
        assert_eq!(node.clone_volume(&export_name("demo@s"), &copy).unwrap().allow, list);
        assert_eq!(kind(node.set_allow(&name("nobody"), list)), ErrorKind::NotFound);
        node.store().close().unwrap();
    }
    let node = scratch.node(false).unwrap();
    for client in [&Principal::Anonymous, &other] {
        assert_eq!(names(&node, client), ["open"]);
        assert!(["demo", "demo@s", "copy"].iter().all(|text| !opens(&node, text, client)));
        let message = |text: &str| Exports::open(&*node, text, client).err().unwrap().to_string();
        assert_eq!(message("demo"), message("nothing"));
        assert!(Exports::snapshots(&*node, "demo", client).is_empty());
        assert!(node.changes_since("demo", "s", client).is_err());
    }
    for client in [&Principal::Local, &backup] {
        assert_eq!(names(&node, client), ["copy", "demo", "demo@s", "open"]);
        assert!(["demo", "demo@s", "copy"].iter().all(|text| opens(&node, text, client)));
        assert_eq!(Exports::snapshots(&*node, "demo", client), ["s"]);
        assert!(node.changes_since("demo", "s", client).is_ok());
    }
    // The trash keeps the list; a new volume of the name has none; what is gone for good leaves no record.
    node.discard(&demo, SnapshotLoss::Allowed, Span::from_seconds(60).unwrap()).unwrap();
    assert!(node.create(&demo, SPEC).unwrap().allow.is_empty());
    let trashed = TrashName { name: demo.clone(), id: None };
    assert_eq!(node.restore(&trashed, Some(&name("back"))).unwrap().allow.to_string(), "backup,desk");
    assert!(!opens(&node, "back@s", &other));
    assert!(node.set_allow(&name("back"), AllowList::default()).unwrap().allow.is_empty());
    assert!(opens(&node, "back@s", &other));
    node.remove(&copy, SnapshotLoss::Refused).unwrap();
    let records = node.store().records();
    assert!(records.iter().all(|record| !record.key.starts_with(b"allow/")), "{records:?}");
}
