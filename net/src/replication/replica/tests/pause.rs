//! Pauses: what is held back, for how long, and what is ordered in them.

use super::*;

const BUSY: Option<Outcome> = Some(Outcome::Refused(Refusal::Busy));
const NOT_READY: Option<Outcome> = Some(Outcome::Refused(Refusal::NotReady));
const DONE: Option<Outcome> = Some(Outcome::Done);
const ONE: PauseId = PauseId(1);
const TWO: PauseId = PauseId(2);

impl Cluster {
    fn pause(&mut self, request: u64, id: PauseId) -> Option<Outcome> {
        self.step(0, Event::Pause { request: RequestId(request), id });
        self.outcome(request)
    }

    fn write_in(&mut self, request: u64, pause: Option<PauseId>) -> Option<Outcome> {
        let payload = Bytes::from_static(b"block");
        self.step(0, Event::Write { request: RequestId(request), payload, room: 0, pause });
        self.outcome(request)
    }
}

#[test]
fn changes_wait_for_the_end_of_a_pause_and_reads_do_not() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.pause(1, ONE), DONE);
    let end = cluster.replicas[0].end();
    assert_eq!(cluster.write_in(2, None), BUSY);
    assert_eq!(cluster.replicas[0].end(), end, "nothing is ordered");
    cluster.step(0, Event::Flush { request: RequestId(3) });
    assert_eq!(cluster.outcome(3), DONE);
    assert!(cluster.replicas[0].serves_reads(Tick(cluster.now)));
    assert_eq!(cluster.write_in(4, Some(ONE)), DONE, "it belongs to the pause");
    cluster.wanted.clear();
    cluster.step(0, Event::Resume(TWO));
    assert_eq!((cluster.write_in(5, None), cluster.wanted.len()), (BUSY, 1), "another pause's end is not this one's");
    cluster.step(0, Event::Resume(ONE));
    assert!(cluster.wanted.contains(&(0, Action::Admit(true))), "whoever waits is told");
    assert_eq!(cluster.write_in(6, None), DONE);
    assert_eq!(cluster.write_in(7, Some(ONE)), NOT_READY, "the pause is over");
}

#[test]
fn a_pause_runs_out_and_what_belongs_to_it_is_refused_from_then_on() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.pause(1, ONE), DONE);
    cluster.pass(PAUSE_US - 1);
    assert_eq!(cluster.write_in(2, None), BUSY);
    assert_eq!(cluster.pause(3, TWO), BUSY, "one at a time");
    cluster.pass(1);
    assert_eq!(cluster.write_in(4, Some(ONE)), NOT_READY);
    assert_eq!(cluster.write_in(5, None), DONE);
    assert_eq!(cluster.pause(6, TWO), DONE);
    assert_eq!(cluster.write_in(7, Some(ONE)), NOT_READY, "it belongs to another");
    assert_eq!(cluster.write_in(8, Some(TWO)), DONE);
}

#[test]
fn a_pause_begins_when_every_member_has_what_came_before() {
    let mut cluster = Cluster::new();
    cluster.apart = vec![B];
    cluster.write(1);
    assert_eq!(cluster.pause(2, ONE), None);
    assert_eq!(cluster.write_in(3, None), BUSY, "it is held back already");
    cluster.apart.clear();
    cluster.pass(2 * HEARTBEAT);
    assert_eq!((cluster.outcome(1), cluster.outcome(2)), (DONE, DONE));
}

#[test]
fn a_pause_ends_with_its_primary() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.pause(1, ONE), DONE);
    assert_eq!(cluster.replicas[1].paused_until(), None, "the others know nothing of it");
    let mut next = Configuration::first(A, &[B]);
    (next.epoch, next.primary) = (Epoch(2), B);
    cluster.configure(&next);
    cluster.pass(2 * HEARTBEAT);
    assert_eq!(cluster.replicas[0].paused_until(), None);
    let not_primary = Some(Outcome::Refused(Refusal::NotPrimary(Some(B))));
    assert_eq!((cluster.write_in(2, Some(ONE)), cluster.pause(3, TWO)), (not_primary, not_primary));
    let write = |request, pause| {
        let (request, payload) = (RequestId(request), Bytes::from_static(b"block"));
        Event::Write { request, payload, room: 0, pause }
    };
    cluster.step(1, write(4, Some(ONE)));
    cluster.step(1, write(5, None));
    assert_eq!((cluster.outcome(4), cluster.outcome(5)), (NOT_READY, DONE));
}

#[test]
fn a_pause_goes_on_when_its_primary_stays_in_a_new_epoch() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.pause(1, ONE), DONE);
    let mut next = Configuration::first(A, &[B]);
    next.epoch = Epoch(2);
    cluster.configure(&next);
    cluster.pass(2 * HEARTBEAT);
    assert_eq!((cluster.write_in(2, None), cluster.write_in(3, Some(ONE))), (BUSY, DONE));
}

#[test]
fn a_pause_that_nobody_will_confirm_is_unknown() {
    let mut cluster = Cluster::new();
    cluster.apart = vec![B];
    cluster.write(1);
    assert_eq!(cluster.pause(2, ONE), None);
    let mut next = Configuration::first(A, &[B]);
    (next.epoch, next.primary) = (Epoch(2), B);
    cluster.configure(&next);
    assert_eq!(cluster.outcome(2), Some(Outcome::Unknown));
}
