//! Room in the members' stores: what is ordered, refused, or has to wait.

use super::*;

const PLENTY: u64 = 1 << 30;

const NO_ROOM: Option<Outcome> = Some(Outcome::Refused(Refusal::OutOfSpace));
const BUSY: Option<Outcome> = Some(Outcome::Refused(Refusal::Busy));
const DONE: Option<Outcome> = Some(Outcome::Done);

fn credit(cluster: &Cluster, index: usize, bytes: u64, shortage: Shortage) -> Event {
    Event::Credit(Credit { at: cluster.replicas[index].end().lsn, bytes, shortage })
}

/// A cluster whose members have said how much they can take.
fn cluster_with(primary: u64, backup: u64, shortage: Shortage) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.say(0, primary, shortage);
    cluster.say(1, backup, shortage);
    cluster
}

impl Cluster {
    fn say(&mut self, index: usize, bytes: u64, shortage: Shortage) {
        let event = credit(self, index, bytes, shortage);
        self.step(index, event);
    }

    fn write_of(&mut self, request: u64, room: u64) -> Option<Outcome> {
        let payload = Bytes::from_static(b"block");
        self.step(0, Event::Write { request: RequestId(request), payload, room, pause: None });
        self.outcome(request)
    }
}

#[test]
fn the_smallest_member_counts_and_what_needs_no_room_goes_on() {
    for (primary, backup) in [(PLENTY, 100), (100, PLENTY)] {
        let mut cluster = cluster_with(primary, backup, Shortage::Full);
        assert_eq!(cluster.write_of(1, 60), DONE);
        let end = cluster.replicas[0].end();
        assert_eq!(cluster.write_of(2, 60), NO_ROOM, "what was ordered before is counted");
        assert_eq!(cluster.replicas[0].end(), end, "it was not ordered");
        assert_eq!(cluster.write_of(3, 0), DONE);
        cluster.step(0, Event::Flush { request: RequestId(4) });
        assert_eq!(cluster.outcome(4), DONE);
        assert_eq!(cluster.write_of(5, 40), DONE, "there is still some room");
        assert_eq!(cluster.write_of(6, 1), NO_ROOM);
        cluster.say(0, PLENTY, Shortage::Full);
        cluster.say(1, PLENTY, Shortage::Full);
        assert_eq!(cluster.write_of(7, 60), DONE, "by itself");
    }
}

#[test]
fn a_member_that_has_more_is_waited_for() {
    let mut cluster = cluster_with(PLENTY, 100, Shortage::None);
    assert_eq!(cluster.write_of(1, 60), DONE);
    assert_eq!(cluster.write_of(2, 60), BUSY);
    cluster.wanted.clear();
    cluster.say(1, 100, Shortage::None);
    assert!(cluster.wanted.contains(&(0, Action::Admit(true))), "who was refused is told");
    assert_eq!(cluster.write_of(2, 60), DONE);
}

#[test]
fn what_was_ordered_behind_the_place_that_a_word_is_about_counts_against_it() {
    let mut cluster = cluster_with(PLENTY, PLENTY, Shortage::Full);
    let at = cluster.replicas[1].end().lsn;
    assert_eq!(cluster.write_of(1, 60), DONE);
    cluster.step(1, Event::Credit(Credit { at, bytes: 100, shortage: Shortage::Full }));
    assert_eq!(cluster.write_of(2, 60), NO_ROOM);
    assert_eq!(cluster.write_of(3, 40), DONE);
}

#[test]
fn a_word_that_another_one_has_overtaken_is_not_taken() {
    let mut cluster = cluster_with(PLENTY, 100, Shortage::Full);
    let at = cluster.replicas[1].end().lsn;
    assert_eq!(cluster.write_of(1, 60), DONE);
    cluster.say(1, 10, Shortage::Full);
    cluster.step(1, Event::Credit(Credit { at, bytes: PLENTY, shortage: Shortage::None }));
    assert_eq!(cluster.write_of(2, 60), NO_ROOM);
}

#[test]
fn a_backup_says_nothing_about_a_log_that_is_not_its_primarys() {
    let mut cluster = cluster_with(PLENTY, PLENTY, Shortage::Full);
    let at = Lsn(cluster.replicas[1].end().lsn.0 + 7);
    cluster.step(1, Event::Credit(Credit { at, bytes: 1, shortage: Shortage::Full }));
    assert_eq!(cluster.write_of(1, 60), DONE);
}

#[test]
fn a_new_epoch_waits_for_words_of_its_own_but_not_for_ever() {
    let mut cluster = cluster_with(PLENTY, 100, Shortage::Full);
    let mut next = Configuration::first(A, &[B]);
    next.epoch = Epoch(2);
    cluster.configure(&next);
    // As a program does that knows nothing of this.
    cluster.replicas[1].credit = None;
    cluster.pass(HEARTBEAT);
    assert_eq!(cluster.write_of(1, 60), BUSY, "the backup may have no room");
    cluster.pass(Timing::DEFAULT.member_us + HEARTBEAT);
    assert_eq!(cluster.write_of(2, 60), DONE);
    cluster.say(1, 10, Shortage::Full);
    assert_eq!(cluster.write_of(3, 60), NO_ROOM);
}

#[test]
fn a_member_whose_store_is_stuck_is_left_out_if_it_can_be_spared_and_comes_back_with_room() {
    let mut cluster = cluster_with(PLENTY, PLENTY, Shortage::None);
    cluster.say(1, 0, Shortage::Stuck);
    cluster.pass(4 * HEARTBEAT);
    assert!(cluster.proposals().is_empty(), "two must acknowledge");
    assert_eq!(cluster.write_of(1, 60), NO_ROOM);
    cluster.step(0, Event::InSyncMin(1));
    cluster.pass(4 * HEARTBEAT);
    let next = (*cluster.proposals().first().expect("it goes on alone")).clone();
    assert_eq!(next.members.len(), 1);
    cluster.configure(&next);
    cluster.step(0, Event::Placement(vec![A, B]));
    assert_eq!(cluster.write_of(2, 60), DONE);
    cluster.wanted.clear();
    cluster.say(1, 0, Shortage::Stuck);
    cluster.pass(2 * Timing::DEFAULT.proposal_us);
    assert!(cluster.proposals().is_empty(), "it is still stuck");
    cluster.say(1, PLENTY, Shortage::None);
    cluster.pass(2 * Timing::DEFAULT.proposal_us);
    assert!(cluster.proposals().iter().any(|next| next.contains(B)));
}

#[test]
fn a_primary_whose_store_is_stuck_gives_the_volume_to_one_that_has_room() {
    let mut cluster = cluster_with(0, 0, Shortage::Stuck);
    cluster.pass(4 * HEARTBEAT);
    assert!(heirs(&cluster).is_empty(), "nobody has room");
    cluster.say(1, PLENTY, Shortage::None);
    cluster.pass(4 * HEARTBEAT);
    assert_eq!(heirs(&cluster).first(), Some(&B));
}

#[test]
fn whoever_wants_the_volume_does_not_get_it_while_its_store_is_stuck() {
    let mut cluster = cluster_with(PLENTY, PLENTY, Shortage::None);
    cluster.say(1, 0, Shortage::Stuck);
    cluster.step(0, Event::HandOver { request: None, to: B });
    cluster.pass(4 * HEARTBEAT);
    assert!(heirs(&cluster).is_empty());
    cluster.say(1, PLENTY, Shortage::None);
    cluster.pass(4 * HEARTBEAT);
    assert_eq!(heirs(&cluster).first(), Some(&B));
}
