//! The protocol without faults, and its rules one by one. Faults in every combination are in `fuzz::cluster`.

use bytes::Bytes;

use super::super::*;

mod credit;
mod pause;
mod sync;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const HEARTBEAT: u64 = Timing::DEFAULT.heartbeat_us;

/// Replicas whose messages arrive at once and whose journals are fast.
struct Cluster {
    now: u64,
    replicas: Vec<Replica>,
    /// Actions that were not for journal or network, with the index of who wanted them.
    wanted: Vec<(usize, Action)>,
    /// Nothing reaches or leaves these.
    apart: Vec<NodeId>,
    /// The syncs of these do not come back.
    hanging: Vec<NodeId>,
}

fn start(me: NodeId, standing: Standing) -> Start {
    let (incarnation, history) = (Incarnation(me.0 * 1000), History::default());
    Start { me, incarnation, standing, intact: true, history, synced: Lsn(0), floor: Lsn(0), journal_start: Lsn(1) }
}

impl Cluster {
    fn new() -> Self {
        let mut out = Vec::new();
        let replica = |(node, standing): (NodeId, Standing)| {
            Replica::new(Tick(0), start(node, standing), Policy::DEFAULT, &mut out).expect("a policy that works")
        };
        let replicas = [(A, Standing::Sound(Epoch(1))), (B, Standing::Outside)].map(replica).into_iter().collect();
        let mut cluster = Self { now: 0, replicas, wanted: Vec::new(), apart: Vec::new(), hanging: Vec::new() };
        cluster.configure(&Configuration::first(A, &[B]));
        // A member grants leases once it is sound.
        cluster.pass(2 * HEARTBEAT);
        cluster
    }

    fn configure(&mut self, configuration: &Configuration) {
        for index in 0..self.replicas.len() {
            self.step(index, Event::Configuration { configuration: configuration.clone(), is_fresh: true });
        }
    }

    fn pass(&mut self, us: u64) {
        let end = self.now + us;
        while self.now < end {
            self.now = (self.now + HEARTBEAT / 2).min(end);
            for index in 0..self.replicas.len() {
                if self.replicas[index].deadline() <= Tick(self.now) {
                    self.step(index, Event::Timer);
                }
            }
        }
    }

    fn step(&mut self, index: usize, event: Event) {
        let mut out = Vec::new();
        self.replicas[index].step(Tick(self.now), event, &mut out);
        for action in out {
            let from = NodeId(index as u64 + 1);
            match action {
                Action::Journal { ticket, .. } | Action::Truncate { ticket, .. } | Action::Note { ticket, .. } => {
                    self.step(index, Event::Journaled(ticket));
                }
                Action::Sync { .. } if self.hanging.contains(&from) => {}
                Action::Sync { ticket } => self.step(index, Event::Synced(ticket)),
                Action::Send(to, message) if !self.apart.contains(&to) && !self.apart.contains(&from) => {
                    self.step(to.0 as usize - 1, Event::Message { from, message });
                }
                Action::Send(..) => {}
                other => self.wanted.push((index, other)),
            }
        }
    }

    fn write(&mut self, request: u64) {
        self.step(
            0,
            Event::Write { request: RequestId(request), payload: Bytes::from_static(b"block"), room: 0, pause: None },
        );
    }

    fn outcome(&self, request: u64) -> Option<Outcome> {
        self.wanted.iter().rev().find_map(|(_, action)| match action {
            Action::Answer(RequestId(of), outcome) if *of == request => Some(*outcome),
            _ => None,
        })
    }

    fn proposals(&self) -> Vec<&Configuration> {
        let of = |(_, action): &'_ (usize, Action)| matches!(action, Action::Propose(_));
        let wanted = self.wanted.iter().filter(|wanted| of(wanted));
        wanted.filter_map(|(_, action)| if let Action::Propose(next) = action { Some(next) } else { None }).collect()
    }
}

#[test]
fn a_new_volume_opens_and_its_backup_becomes_sound() {
    let cluster = Cluster::new();
    assert!(cluster.wanted.contains(&(0, Action::Opened { epoch: Epoch(1), loss: Epoch(0) })));
    assert_eq!(cluster.replicas.iter().map(Replica::role).collect::<Vec<_>>(), [Role::Primary, Role::Backup]);
    assert!(cluster.replicas[0].serves_reads(Tick(cluster.now)));
}

#[test]
fn a_write_is_answered_when_every_member_has_it() {
    let mut cluster = Cluster::new();
    cluster.write(1);
    assert_eq!(cluster.outcome(1), Some(Outcome::Done));
    cluster.apart = vec![B];
    cluster.write(2);
    let visible = cluster.replicas[0].committed();
    assert_eq!((cluster.outcome(2), visible.next()), (None, cluster.replicas[0].end().lsn));
    cluster.apart.clear();
    cluster.pass(2 * HEARTBEAT);
    assert_eq!(cluster.outcome(2), Some(Outcome::Done));
}

#[test]
fn what_is_flushed_after_each_write_is_synced_at_once() {
    let mut cluster = Cluster::new();
    let is_synced = |cluster: &Cluster| cluster.replicas[0].flushable() == cluster.replicas[0].end().lsn;
    for request in 0..4 {
        cluster.write(2 * request);
        assert!(!is_synced(&cluster), "write {request}");
        cluster.step(0, Event::Flush { request: RequestId(2 * request + 1) });
    }
    cluster.write(8);
    assert!(is_synced(&cluster));
    cluster.step(0, Event::Flush { request: RequestId(9) });
    assert_eq!(cluster.outcome(9), Some(Outcome::Done));
    // Until somebody writes and does not flush.
    cluster.write(10);
    cluster.write(11);
    assert!(!is_synced(&cluster));
    cluster.step(0, Event::Flush { request: RequestId(12) });
    cluster.write(13);
    assert!(!is_synced(&cluster));
}

#[test]
fn a_flush_is_answered_when_every_member_has_synced() {
    let mut cluster = Cluster::new();
    cluster.write(1);
    assert!(cluster.replicas[0].flushable() < cluster.replicas[0].end().lsn);
    cluster.step(0, Event::Flush { request: RequestId(2) });
    assert_eq!(cluster.outcome(2), Some(Outcome::Done));
    assert_eq!(cluster.replicas[0].flushable(), cluster.replicas[0].end().lsn);
}

#[test]
fn a_primary_alone_serves_no_read_when_its_lease_is_over() {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::Read { request: RequestId(1) });
    assert!(cluster.wanted.contains(&(0, Action::AdmitRead(RequestId(1)))));
    cluster.apart = vec![B];
    cluster.now += Timing::DEFAULT.lease_us + HEARTBEAT;
    // It was stopped while it read.
    cluster.step(0, Event::ReadDone { request: RequestId(1) });
    assert_eq!(cluster.outcome(1), Some(Outcome::Refused(Refusal::NotReady)));
}

#[test]
fn a_backup_takes_over_only_after_its_grant_and_within_five_seconds() {
    let mut cluster = Cluster::new();
    cluster.apart = vec![A];
    cluster.pass(Timing::DEFAULT.lease_us);
    assert!(cluster.proposals().is_empty(), "nobody takes over while the lease may hold");
    cluster.pass(3_000_000 - Timing::DEFAULT.lease_us + HEARTBEAT);
    let next = (*cluster.proposals().first().expect("the backup proposes itself")).clone();
    assert_eq!((next.epoch, next.primary, next.members.len()), (Epoch(2), B, 2), "two must acknowledge");
    cluster.configure(&next);
    cluster.apart.clear();
    cluster.pass(2 * HEARTBEAT);
    assert!(cluster.wanted.contains(&(1, Action::Opened { epoch: Epoch(2), loss: Epoch(0) })));
    assert!(cluster.now < 5_000_000);
}

#[test]
fn what_a_primary_has_ordered_alone_is_cut_off_when_it_is_back() {
    let mut cluster = Cluster::new();
    cluster.apart = vec![B];
    cluster.write(1);
    let mut next = Configuration::first(A, &[B]);
    (next.epoch, next.primary) = (Epoch(2), B);
    cluster.configure(&next);
    assert_eq!(cluster.outcome(1), Some(Outcome::Unknown));
    cluster.apart.clear();
    cluster.pass(2 * HEARTBEAT);
    assert!(cluster.wanted.iter().all(|(_, action)| !matches!(action, Action::Diverged(_))));
    assert_eq!(cluster.replicas[0].end(), cluster.replicas[1].end());
    assert_eq!(cluster.replicas[0].end().epoch, Epoch(2));
}

#[test]
fn a_node_that_shall_not_hold_the_volume_any_more_is_not_added() {
    let mut cluster = Cluster::new();
    let mut alone = Configuration::first(A, &[]);
    alone.epoch = Epoch(2);
    cluster.configure(&alone);
    cluster.step(0, Event::Placement(vec![A, B]));
    cluster.pass(2 * HEARTBEAT);
    assert!(cluster.proposals().iter().any(|next| next.contains(B)), "it has caught up");
    // Nothing came of that, and now it is to be elsewhere: asking for it again would stand in the way of all else.
    cluster.step(0, Event::Placement(vec![A]));
    cluster.wanted.clear();
    cluster.pass(2 * Timing::DEFAULT.proposal_us);
    assert!(cluster.proposals().is_empty());
}

/// To whom it was proposed to give the volume.
fn heirs(cluster: &Cluster) -> Vec<NodeId> {
    cluster.proposals().iter().map(|next| next.primary).filter(|node| *node != A).collect()
}

#[test]
fn who_asks_for_the_volume_gets_it_at_once() {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::HandOver { request: None, to: B });
    assert_eq!(heirs(&cluster), [B]);
    cluster.write(1);
    assert_eq!(cluster.outcome(1), Some(Outcome::Refused(Refusal::NotReady)), "the other may have it already");
}

#[test]
fn a_volume_is_given_away_again_if_nothing_came_of_it() {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::HandOver { request: None, to: B });
    cluster.pass(2 * Timing::DEFAULT.proposal_us);
    let stays = (*cluster.proposals().last().expect("it makes sure that it has the volume")).clone();
    assert_eq!((stays.primary, heirs(&cluster)), (A, vec![B]));
    cluster.configure(&stays);
    cluster.pass(2 * HEARTBEAT);
    assert_eq!(heirs(&cluster), [B, B]);
}

#[test]
fn who_asks_while_something_else_is_decided_gets_the_volume_afterwards() {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::InSyncMin(1));
    cluster.step(0, Event::Placement(vec![A]));
    cluster.pass(2 * HEARTBEAT);
    assert_eq!(cluster.proposals().last().map(|next| next.members.len()), Some(1));
    cluster.step(0, Event::Placement(vec![A, B]));
    cluster.step(0, Event::HandOver { request: None, to: B });
    assert_eq!(heirs(&cluster), []);
    // Nothing came of the other.
    cluster.pass(2 * Timing::DEFAULT.proposal_us);
    assert_eq!(heirs(&cluster), [B]);
}

#[test]
fn who_asks_and_cannot_serve_yet_gets_the_volume_when_it_can() {
    let mut cluster = Cluster::new();
    cluster.apart = vec![B];
    cluster.pass(Timing::DEFAULT.lease_us + HEARTBEAT);
    cluster.step(0, Event::HandOver { request: None, to: B });
    assert_eq!(heirs(&cluster), []);
    cluster.apart.clear();
    cluster.pass(2 * HEARTBEAT);
    assert_eq!(heirs(&cluster), [B]);
}

#[test]
fn a_wish_is_refused_where_it_would_be_forgotten() {
    let mut cluster = Cluster::new();
    let wish = |request| Event::HandOver { request: Some(RequestId(request)), to: B };
    cluster.step(1, wish(1));
    assert_eq!(cluster.outcome(1), Some(Outcome::Refused(Refusal::NotPrimary(None))));
    cluster.step(0, wish(2));
    assert_eq!((cluster.outcome(2), heirs(&cluster)), (Some(Outcome::Done), vec![B]));
    cluster.step(0, wish(3));
    assert_eq!(cluster.outcome(3), Some(Outcome::Refused(Refusal::NotReady)), "it is about to go");
}

#[test]
fn who_asks_for_a_volume_that_it_shall_not_hold_does_not_get_it() {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::Placement(vec![A]));
    cluster.step(0, Event::HandOver { request: None, to: B });
    cluster.pass(2 * HEARTBEAT);
    assert_eq!(heirs(&cluster), []);
}

#[test]
fn a_node_that_has_everything_for_moments_only_is_added() {
    let mut cluster = Cluster::new();
    cluster.step(0, Event::InSyncMin(1));
    let mut alone = Configuration::first(A, &[]);
    alone.epoch = Epoch(2);
    cluster.apart = vec![B];
    cluster.configure(&alone);
    cluster.step(0, Event::Placement(vec![A, B]));
    for request in 0..20 {
        // Whenever a timer looks, there is something that it lacks.
        cluster.write(request);
        cluster.pass(HEARTBEAT);
        cluster.apart.clear();
        cluster.step(1, Event::Timer);
        cluster.write(100 + request);
        cluster.apart = vec![B];
    }
    assert!(cluster.proposals().iter().any(|next| next.contains(B)));
}

#[test]
fn a_member_that_is_not_wanted_stays_while_it_must_acknowledge() {
    let proposes = |in_sync_min| {
        let mut cluster = Cluster::new();
        cluster.replicas[0].policy.in_sync_min = in_sync_min;
        cluster.step(0, Event::Placement(vec![A]));
        cluster.pass(2 * HEARTBEAT);
        cluster.proposals().first().map(|next| next.members.len())
    };
    assert_eq!(proposes(1), Some(1));
    assert_eq!(proposes(2), None);
}

#[test]
fn fewer_members_are_enough_once_the_volume_wants_fewer() {
    let mut cluster = Cluster::new();
    let mut alone = Configuration::first(A, &[]);
    alone.epoch = Epoch(2);
    cluster.configure(&alone);
    cluster.write(1);
    assert_eq!(cluster.outcome(1), None, "it waits for another member");
    cluster.step(0, Event::InSyncMin(1));
    assert_eq!(cluster.outcome(1), Some(Outcome::Done));
    cluster.step(0, Event::InSyncMin(2));
    cluster.write(2);
    assert_eq!(cluster.outcome(2), None);
}

#[test]
fn messages_of_an_older_epoch_change_nothing() {
    let mut cluster = Cluster::new();
    let mut next = Configuration::first(A, &[B]);
    next.epoch = Epoch(2);
    cluster.configure(&next);
    cluster.pass(HEARTBEAT);
    let before = cluster.replicas[1].end();
    let (prev, records) = (before, vec![Record { epoch: Epoch(1), body: Body::Opening }]);
    let append = Append {
        epoch: Epoch(1),
        to: Incarnation(2000),
        sent: Tick(cluster.now),
        as_member: true,
        prev,
        records,
        committed: Lsn(0),
        flushable: Lsn(0),
        sync: Lsn(0),
    };
    cluster.step(1, Event::Message { from: A, message: Message::Append(append) });
    assert_eq!(cluster.replicas[1].end(), before);
}

#[test]
fn windows_are_bounded() {
    let mut cluster = Cluster::new();
    cluster.apart = vec![B];
    for request in 0..=Windows::DEFAULT.accepted as u64 {
        cluster.write(request);
    }
    assert!(cluster.wanted.contains(&(0, Action::Admit(false))));
    assert_eq!(cluster.outcome(Windows::DEFAULT.accepted as u64), Some(Outcome::Refused(Refusal::Busy)));
    cluster.apart.clear();
    cluster.pass(4 * HEARTBEAT);
    assert!(cluster.wanted.contains(&(0, Action::Admit(true))));
    assert_eq!(cluster.outcome(0), Some(Outcome::Done));
}

/// A primary with these windows that has ordered six writes of 100 bytes, of which `in_flight` are on their way to the
/// backup, and how it goes on when the backup says that it has those.
fn after_six_writes(windows: Windows) -> (Cluster, Vec<Action>) {
    let mut cluster = Cluster::new();
    cluster.replicas[0].policy.windows = windows;
    cluster.apart = vec![B];
    let before = cluster.replicas[0].end().lsn;
    for request in 0..6 {
        let payload = Bytes::from_static(&[1; 100]);
        cluster.step(0, Event::Write { request: RequestId(request), payload, room: 0, pause: None });
    }
    let (epoch, from, sent) = (Epoch(1), Incarnation(2000), Tick(cluster.now));
    let (held, synced) = (Lsn(before.0 + windows.in_flight), Lsn(0));
    let answer = Appended { epoch, from, sent, granted: true, held, synced, resend_after: None };
    let mut out = Vec::new();
    cluster.replicas[0].step(sent, Event::Message { from: B, message: Message::Appended(answer) }, &mut out);
    (cluster, out)
}

/// How many records each message has.
fn batches(actions: &[Action]) -> Vec<usize> {
    let count = |action: &Action| match action {
        Action::Send(B, Message::Append(append)) => Some(append.records.len()),
        _ => None,
    };
    actions.iter().filter_map(count).collect()
}

#[test]
fn a_message_has_at_most_a_batch_of_payload_but_one_record_at_least() {
    for (batch_bytes, found) in [(99, vec![1, 1, 1]), (199, vec![1, 1, 1]), (200, vec![2, 1]), (300, vec![3])] {
        let windows = Windows { in_flight: 3, batch_bytes, ..Windows::DEFAULT };
        assert_eq!(batches(&after_six_writes(windows).1), found, "{batch_bytes}");
    }
}

#[test]
fn of_what_was_read_back_a_message_takes_a_batch_and_the_rest_is_read_again() {
    let few = Windows { in_flight: 3, batch_bytes: 200, ..Windows::DEFAULT };
    reads_back_what_is_not_kept(Windows { recent: 1, ..few });
    reads_back_what_is_not_kept(Windows { recent_bytes: 199, ..few });
}

fn reads_back_what_is_not_kept(windows: Windows) {
    let (mut cluster, out) = after_six_writes(windows);
    let reading = |actions: &[Action]| {
        let of = |action: &Action| match action {
            Action::ReadJournal { after, bytes_max, .. } => Some((*after, *bytes_max)),
            _ => None,
        };
        actions.iter().find_map(of)
    };
    let (after, bytes_max) = reading(&out).expect("it reads back what is not in memory");
    assert_eq!(bytes_max, 200);
    let records = vec![Record { epoch: Epoch(1), body: Body::Write(Bytes::from_static(&[1; 100])) }; 3];
    let mut out = Vec::new();
    cluster.replicas[0].step(Tick(cluster.now), Event::JournalRead { to: B, after, records }, &mut out);
    // The last one is in memory again.
    assert_eq!(batches(&out), [2, 1]);
    assert_eq!(reading(&out), None);
}

#[test]
fn a_lease_that_could_outlive_the_grace_is_refused() {
    let with = |lease_us, drift_ppm| {
        let timing = Timing { lease_us, drift_ppm, ..Timing::DEFAULT };
        Policy { timing, ..Policy::DEFAULT }.check()
    };
    assert_eq!(with(2_000_000, 10_000), Ok(()));
    assert_eq!(with(2_490_000, 10_000), Err(PolicyError::LeaseOutlivesGrace));
    assert_eq!(with(2_000_000, 120_000), Err(PolicyError::LeaseOutlivesGrace));
    assert_eq!(with(700_000, 10_000), Err(PolicyError::LeaseTooShort));
}

#[test]
fn no_more_than_a_window_of_payload_is_on_the_way_to_a_peer() {
    for (in_flight_bytes, found) in [(100, vec![1]), (101, vec![1, 1]), (1000, vec![1; 3])] {
        let windows = Windows { in_flight: 3, in_flight_bytes, batch_bytes: 1, ..Windows::DEFAULT };
        assert_eq!(batches(&after_six_writes(windows).1), found, "{in_flight_bytes}");
    }
}

/// A replica that starts with two records of epoch 1, which its runs have.
fn started(me: NodeId) -> (Replica, Vec<Action>) {
    let history = History::new(vec![(Epoch(1), Lsn(1))], Lsn(2)).expect("a history");
    let start = Start { history, synced: Lsn(2), floor: Lsn(2), ..start(me, Standing::Sound(Epoch(1))) };
    let mut out = Vec::new();
    let replica = Replica::new(Tick(0), start, Policy::DEFAULT, &mut out).expect("a policy that works");
    (replica, out)
}

fn second() -> Configuration {
    Configuration { epoch: Epoch(2), ..Configuration::first(A, &[B]) }
}

/// An earlier start may have sent an opening that it did not keep, behind records that it did not keep either: to use the epoch
/// again could give two records one name.
#[test]
fn a_primary_that_lacks_the_opening_of_its_epoch_begins_another_one() {
    let (mut replica, mut out) = started(A);
    replica.step(Tick(1), Event::Configuration { configuration: second(), is_fresh: true }, &mut out);
    assert_ne!(replica.role(), Role::Primary);
    replica.step(replica.deadline(), Event::Timer, &mut out);
    let third = Configuration { epoch: Epoch(3), ..second() };
    assert!(out.contains(&Action::Propose(third.clone())), "{out:?}");
    replica.step(Tick(2), Event::Configuration { configuration: third, is_fresh: false }, &mut out);
    assert_eq!(replica.role(), Role::Primary);
}

/// Whoever starts with an old configuration may meet its primary, which was forgotten, and knows nothing of a newer epoch.
#[test]
fn only_a_primary_that_may_be_the_newest_shows_that_logs_have_diverged() {
    let (epoch, sent, to) = (Epoch(2), Tick(1), Incarnation(B.0 * 1000));
    let prev = Position { epoch: Epoch(1), lsn: Lsn(1) };
    let records = vec![Record { epoch, body: Body::Opening }];
    let (committed, flushable, sync) = (Lsn(1), Lsn(1), Lsn(1));
    let append = Append { epoch, to, sent, as_member: true, prev, records, committed, flushable, sync };
    for is_fresh in [false, true] {
        let (mut replica, mut out) = started(B);
        replica.step(Tick(1), Event::Configuration { configuration: second(), is_fresh }, &mut out);
        out.clear();
        replica.step(Tick(2), Event::Message { from: A, message: Message::Append(append.clone()) }, &mut out);
        assert_eq!(out.contains(&Action::Diverged(A)), is_fresh);
        assert_eq!(out.contains(&Action::FetchConfiguration), !is_fresh);
        assert_eq!(replica.end().lsn, Lsn(2), "nothing is cut off");
    }
}

/// Of more epochs than are remembered nobody can say who wrote the first records: they are not sent from the journal.
#[test]
fn an_empty_replica_of_a_log_with_forgotten_epochs_gets_content() {
    let mut history = History::default();
    (1..=300).for_each(|epoch| history.extend(Epoch(epoch), 2));
    let end = history.end().lsn;
    let with = Start { history, synced: end, floor: end, ..start(A, Standing::Sound(Epoch(300))) };
    let (mut out, now) = (Vec::new(), Tick(0));
    let mut primary = Replica::new(now, with, Policy::DEFAULT, &mut out).expect("a policy that works");
    let empty = Replica::new(now, start(B, Standing::Outside), Policy::DEFAULT, &mut out).expect("a policy that works");
    primary.step(now, Event::InSyncMin(1), &mut out);
    let mut cluster = Cluster::new();
    (cluster.now, cluster.wanted) = (0, Vec::new());
    cluster.replicas = vec![primary, empty];
    cluster.step(0, Event::Placement(vec![A, B]));
    let mut alone = Configuration::first(A, &[]);
    alone.epoch = Epoch(300);
    cluster.configure(&alone);
    cluster.pass(2 * HEARTBEAT);
    alone.epoch = Epoch(301);
    cluster.configure(&alone);
    cluster.pass(2 * Timing::DEFAULT.member_us);
    let sent = |(_, action): &(usize, Action)| matches!(action, Action::SendContent { to: B, .. });
    let read = |(_, action): &(usize, Action)| matches!(action, Action::ReadJournal { .. });
    assert!(cluster.wanted.iter().any(sent), "{:?}", cluster.wanted);
    assert!(!cluster.wanted.iter().any(read));
}
