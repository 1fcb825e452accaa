use net::forward::{decode_answer, encode_question};

use super::*;
use crate::cluster::asking::Session;
use crate::cluster::tests::{Fixture, name};
use crate::cluster::volumes::order;
use crate::replica::operation::Operation;

fn attempt(session: u64, number: u64) -> Attempt {
    Attempt { session, number }
}

#[test]
fn an_attempt_that_was_given_up_does_nothing_any_more() {
    let sessions = Sessions::default();
    assert_eq!(sessions.enter(attempt(1, 1), || "one"), Some("one"));
    assert_eq!(sessions.enter(attempt(1, 1), || "another of the same"), Some("another of the same"));
    assert_eq!(sessions.enter(attempt(1, 2), || "two"), Some("two"));
    assert_eq!(sessions.enter(attempt(1, 1), || "late"), None);
    assert_eq!(sessions.enter(attempt(2, 1), || "of somebody else"), Some("of somebody else"));
}

#[test]
fn sessions_that_were_heard_of_lately_are_remembered() {
    let sessions = Sessions::default();
    sessions.enter(attempt(0, 5), || ());
    for session in 1..SESSIONS_MAX as u64 + 10 {
        sessions.enter(attempt(session, 1), || ());
        sessions.enter(attempt(0, 5), || ());
    }
    assert_eq!(sessions.0.lock().attempts.len(), SESSIONS_MAX);
    assert_eq!(sessions.enter(attempt(0, 4), || ()), None);
}

#[test]
fn a_range_whose_end_is_beyond_all_numbers_is_refused() {
    let fixture = Fixture::new("cluster-range");
    let core = fixture.cluster.core();
    let volume = VolumeId(fixture.cluster.volume(&name("db")).unwrap().id);
    let ask = |asked| {
        let answer = core.answer(NodeId(2), &encode_question(&Question { volume, asked }));
        decode_answer(&answer).unwrap().result
    };
    let refused = || Err(Refused::Failed("the range is beyond the end of the volume".into()));
    for offset in [u64::MAX, u64::MAX - 100] {
        assert_eq!(ask(Asked::Read { snapshot: None, offset, len: 4096 }), refused());
        assert_eq!(ask(Asked::Status { snapshot: None, offset, len: 4096, extents_max: 1 }), refused());
    }
}

/// Whoever orders one is answered when it is durable, and the store makes it after that.
#[test]
fn a_snapshot_that_was_ordered_is_read_once_it_is_made() {
    let fixture = Fixture::new("cluster-ordered");
    let volume = VolumeId(fixture.cluster.volume(&name("db")).unwrap().id);
    let session = Session::new(fixture.cluster.core(), volume);
    for number in 0..20 {
        let snapshot = name(&format!("s{number}"));
        order(&session, Operation::Snapshot { name: snapshot.clone() }).unwrap();
        if number % 2 == 0 {
            assert_eq!(session.read(Some(snapshot.as_str()), 0, 1).unwrap(), &[1][..]);
        } else {
            assert!(session.status(Some(snapshot.as_str()), (0, 4096), 1).is_ok());
        }
    }
}
