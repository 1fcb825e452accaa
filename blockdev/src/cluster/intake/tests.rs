use std::ops::ControlFlow;

use lsm_store::store::VolumeInfo;

use super::*;
use crate::access::Principal;
use crate::cluster::tests::{Fixture, SIZE, name};
use crate::export::Exports;
use crate::node::Import;

/// The volume `db` with a snapshot `base`, something written since, and what is to come in its place.
struct World {
    fixture: Fixture,
    content: Import,
    base: VolumeInfo,
    root: Root,
    names: [SnapshotName; 2],
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn snapshot_name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

impl World {
    fn new(test: &str) -> Self {
        let fixture = Fixture::new(test);
        let names = ["db@base", "db@next"].map(snapshot_name);
        fixture.cluster.snapshot(&names[0]).unwrap();
        let source = fixture.cluster.source(&names[0], None).unwrap();
        let base = source.snapshot().info;
        let content = fixture.node.hidden_clone_of_replica(base.id, "receive").unwrap();
        let zeros = vec![0; 4096];
        content.volume().write(&[Write { offset: 0, data: &[8; 4096] }, Write { offset: 8192, data: &zeros }]).unwrap();
        for block in (16..200).step_by(3) {
            content.volume().write(&[Write { offset: block * 4096, data: &[block as u8; 4096] }]).unwrap();
        }
        let root = root_of(content.volume(), &mut go_on).unwrap().root;
        let world = Self { fixture, content, base, root, names };
        world.write(4096, 5);
        world
    }

    fn core(&self) -> Arc<Core> {
        self.fixture.cluster.core()
    }

    fn id(&self) -> VolumeId {
        self.core().volume_named(&name("db")).unwrap().id
    }

    fn session(&self) -> Session {
        Session::new(self.core(), self.id())
    }

    fn write(&self, offset: u64, byte: u8) {
        let data = [byte; 4096];
        self.session().write(&records(&[Write { offset, data: &data }], &mut Packer::default())).unwrap();
    }

    fn arriving(&self) -> Arriving<'_> {
        Arriving {
            volume: self.id(),
            name: &self.names[1],
            base: &self.names[0],
            base_id: self.base.id,
            content: self.content.volume(),
            root: self.root,
            force: true,
        }
    }

    #[track_caller]
    fn wait_put_back(&self) {
        let is_over = || self.fixture.node.intakes().is_empty() && !self.core().intakes.is_under_way(self.id());
        self.fixture.wait_until("it is put back", is_over);
    }

    fn content_of(&self, snapshot: Option<&str>) -> Vec<u8> {
        self.session().read(snapshot, 0, SIZE as usize).unwrap().to_vec()
    }

    fn snapshots(&self) -> Vec<String> {
        self.session().snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect()
    }

    /// That the volume is as it was made here.
    #[track_caller]
    fn assert_untouched(&self) {
        let mut expected = vec![0; SIZE as usize];
        expected[..4096].fill(1);
        expected[4096..8192].fill(5);
        assert!(self.content_of(None) == expected);
        assert_eq!(self.snapshots(), ["base"]);
        assert!(self.fixture.node.intakes().is_empty());
        assert_eq!(self.fixture.cluster.volume(&name("db")).unwrap().size_bytes, SIZE);
        self.fixture.exports.open("db", &Principal::Local).unwrap();
    }
}

impl Intake<'_> {
    /// Ends as with its node: nothing is undone.
    fn vanish(mut self) {
        self.step = Step::Over;
    }
}

#[test]
fn nobody_sees_a_part_of_what_comes() {
    let world = World::new("intake-unseen");
    let (arriving, before) = (world.arriving(), world.content_of(None));
    let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    intake.freeze().unwrap();
    intake.change().unwrap();
    assert!(world.content_of(None) != before);
    let cluster = &world.fixture.cluster;
    cluster.snapshot(&snapshot_name("db@meanwhile")).unwrap();
    assert!(world.content_of(Some("meanwhile")) == before);
    cluster.clone_volume(&name("db").into(), &name("clone")).unwrap();
    let clone = world.core().volume_named(&name("clone")).unwrap().id;
    assert!(Session::new(world.core(), clone).read(None, 0, SIZE as usize).unwrap()[..] == before);
    let named = cluster.snapshots(&name("db")).unwrap();
    let named: Vec<_> = named.iter().map(|snapshot| snapshot.name.to_string()).collect();
    assert_eq!(named, ["db@base", "db@meanwhile"]);
    let refusals = [
        cluster.resize(&name("db"), 2 * SIZE, false).map(drop),
        cluster.roll_back(&snapshot_name("db@base")).map(drop),
        Intake::begin(cluster, &arriving).map(drop),
    ];
    for refused in refusals {
        assert!(matches!(refused, Err(ClusterError::TakenIn { .. })));
    }
    let error = world.fixture.exports.open("db", &Principal::Local).err().unwrap();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("a snapshot comes into volume db"));
    intake.prove(&mut go_on).unwrap();
    intake.finish().unwrap();
    drop(intake);
    let next = world.content_of(Some("next"));
    assert!(world.content_of(None) == next && next[..4096] == [8; 4096] && next[4096..8192] == [0; 4096]);
    assert!(world.content_of(Some("meanwhile")) == before);
    world.fixture.wait_until("the seed of the clone goes", || world.snapshots() == ["base", "meanwhile", "next"]);
    world.fixture.exports.open("db", &Principal::Local).unwrap();
}

#[test]
fn a_failure_puts_the_volume_back() {
    let world = World::new("intake-failure");
    let arriving = world.arriving();
    let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    intake.freeze().unwrap();
    intake.change().unwrap();
    // By a client of another node.
    world.write(SIZE - 4096, 9);
    let error = intake.prove(&mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Disturbed(_)), "{error}");
    drop(intake);
    world.assert_untouched();
    let mut arriving = world.arriving();
    arriving.force = false;
    let error = world.fixture.cluster.take_in(&arriving, &mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Transfer(TransferError::Changed { .. })), "{error}");
    world.assert_untouched();
}

#[test]
fn what_a_node_leaves_when_it_ends_is_put_back_when_it_is_there_again() {
    let world = World::new("intake-crash");
    for steps in 0..4 {
        let arriving = world.arriving();
        let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
        intake.freeze().unwrap();
        if steps > 0 {
            intake.change().unwrap();
        }
        if steps > 1 {
            intake.prove(&mut go_on).unwrap();
        }
        intake.vanish();
        let is_left = world.snapshots().iter().any(|name| taker_of(&name.parse().unwrap()).is_some());
        let stage = if steps == 0 { IntakeStage::Frozen } else { IntakeStage::Changing };
        assert!(is_left && world.fixture.node.intakes() == [(world.id(), stage)]);
        match steps {
            // Somebody does not want to wait for it.
            3 => {
                world.fixture.cluster.roll_back(&snapshot_name("db@base")).unwrap();
                world.write(4096, 5);
                world.core().node.forget_intake(world.id()).unwrap();
            }
            _ => {
                world.core().intakes.left.lock().extend(world.fixture.node.intakes());
                world.wait_put_back();
            }
        }
        world.assert_untouched();
    }
}

#[test]
fn what_is_written_to_a_volume_that_was_only_frozen_stays() {
    let world = World::new("intake-frozen");
    let arriving = world.arriving();
    for (byte, by_next) in [(6, false), (7, true)] {
        let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
        intake.freeze().unwrap();
        // By a client of another node.
        world.write(8192, byte);
        intake.vanish();
        let next = by_next.then(|| Intake::begin(&world.fixture.cluster, &arriving).unwrap());
        world.core().intakes.left.lock().extend(world.fixture.node.intakes());
        if let Some(mut next) = next {
            next.freeze().unwrap();
        }
        world.wait_put_back();
        assert_eq!(world.content_of(None)[8192..12288], [byte; 4096]);
        assert_eq!(world.snapshots(), ["base"]);
    }
}

#[test]
fn what_was_left_is_put_back_also_if_the_next_does_not_come_far() {
    let world = World::new("intake-left");
    let arriving = world.arriving();
    let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    intake.freeze().unwrap();
    intake.change().unwrap();
    intake.vanish();
    let next = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    world.core().intakes.left.lock().extend(world.fixture.node.intakes());
    world.core().settle_intakes();
    drop(next);
    world.wait_put_back();
    world.assert_untouched();
}

#[test]
fn what_was_left_does_not_harm_the_next() {
    let world = World::new("intake-again");
    let arriving = world.arriving();
    let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    intake.freeze().unwrap();
    intake.change().unwrap();
    world.write(SIZE - 4096, 9);
    intake.vanish();
    world.fixture.cluster.take_in(&arriving, &mut go_on).unwrap();
    let next = world.content_of(Some("next"));
    assert!(world.content_of(None) == next && next[SIZE as usize - 4096..] == [0; 4096]);
    assert_eq!(world.snapshots(), ["base", "next"]);
}

#[test]
fn what_a_lost_node_leaves_is_put_back_by_the_primary() {
    const LOST: NodeId = NodeId(99);
    let world = World::new("intake-lost");
    let [before, after] = [before_name(LOST), after_name(LOST)].map(|name| Operation::Snapshot { name });
    let write = Operation::Write { offset: 0, data: vec![77; 4096].into() };
    order_together(&world.session(), &[before, write, after]).unwrap();
    world.fixture.wait_until("it is put back", || world.snapshots() == ["base"]);
    world.assert_untouched();
}

#[test]
fn a_name_that_another_node_gave_meanwhile_is_not_taken_from_it() {
    let world = World::new("intake-name");
    let (arriving, before) = (world.arriving(), world.content_of(None));
    let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    intake.freeze().unwrap();
    intake.change().unwrap();
    intake.prove(&mut go_on).unwrap();
    order(&world.session(), Operation::Snapshot { name: name("next") }).unwrap();
    let error = intake.finish().unwrap_err();
    assert!(matches!(error, ClusterError::Snapshot { exists: true, .. }), "{error}");
    drop(intake);
    assert!(world.content_of(Some("next")) == before && world.content_of(None) == world.content_of(Some("base")));
    assert_eq!(world.snapshots(), ["base", "next"]);
    assert!(world.fixture.node.intakes().is_empty());
}

#[test]
fn two_nodes_do_not_bring_snapshots_into_a_volume_at_once() {
    let world = World::new("intake-two");
    let (other, arriving) = (before_name(NodeId(2)), world.arriving());
    // There is no such node, and somebody may have noticed that before it counts.
    let is_refused = (0..5).any(|_| {
        let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
        order(&world.session(), Operation::Snapshot { name: other.clone() }).unwrap();
        matches!(intake.freeze(), Err(ClusterError::TakenIn { .. }))
    });
    assert!(is_refused);
    world.fixture.wait_until("what the other left is undone", || world.snapshots() == ["base"]);
    world.assert_untouched();
}

#[test]
fn a_volume_is_never_put_back_to_what_another_node_has_half_changed() {
    let world = World::new("intake-second");
    let arriving = world.arriving();
    let write = || Operation::Write { offset: 0, data: vec![77; 4096].into() };
    // There is no such node, and somebody may have noticed that before it counts.
    let is_refused = (0..5).any(|_| {
        let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
        order_together(&world.session(), &[Operation::Snapshot { name: before_name(NodeId(2)) }, write()]).unwrap();
        let refused = matches!(intake.freeze(), Err(ClusterError::TakenIn { .. }));
        world.fixture.wait_until("the other is undone", || world.content_of(None)[0] == 1);
        // Put back later, as after a crash.
        intake.vanish();
        world.core().undo_intake(&world.session(), world.core().me, None).unwrap();
        world.core().node.forget_intake(world.id()).unwrap();
        refused
    });
    assert!(is_refused);
    world.fixture.wait_until("all is tidied up", || world.snapshots() == ["base"]);
    world.assert_untouched();
}

#[test]
fn a_volume_is_not_opened_before_all_that_was_ordered_is_known() {
    let world = World::new("intake-unapplied");
    let core = world.core();
    for round in 0..3 {
        // Ordered, and not applied before somebody asks for it.
        let name = before_name(core.me);
        world.session().write(&[Draft::of(&[Operation::Snapshot { name }])]).unwrap();
        let opened = world.fixture.exports.open("db", &Principal::Local);
        assert!(opened.is_err(), "round {round}");
        order_together(&world.session(), &removal(core.me)).unwrap();
        world.fixture.exports.open("db", &Principal::Local).unwrap();
    }
    // What cannot be told is not that there is none.
    assert!(core.taker_of(VolumeId(999)).is_err());
}

#[test]
fn a_rollback_by_hand_is_not_half_undone() {
    let world = World::new("intake-by-hand");
    let arriving = world.arriving();
    let mut intake = Intake::begin(&world.fixture.cluster, &arriving).unwrap();
    intake.freeze().unwrap();
    let back = Operation::RollBack { to: name("base") };
    let by_hand: Vec<_> = std::iter::once(back).chain(removal(world.core().me)).collect();
    order_together(&world.session(), &by_hand).unwrap();
    // The node was only out of reach, and goes on.
    intake.step = Step::Changing;
    world.write(SIZE - 4096, 9);
    let error = intake.prove(&mut go_on).unwrap_err();
    assert!(matches!(error, ClusterError::Disturbed(_)), "{error}");
    drop(intake);
    assert!(world.content_of(None) == world.content_of(Some("base")));
    assert_eq!(world.snapshots(), ["base"]);
}

#[test]
fn what_comes_too_late_is_removed_before_the_next() {
    let world = World::new("intake-late");
    order(&world.session(), Operation::Snapshot { name: after_name(world.core().me) }).unwrap();
    world.fixture.cluster.take_in(&world.arriving(), &mut go_on).unwrap();
    assert_eq!(world.snapshots(), ["base", "next"]);
}
