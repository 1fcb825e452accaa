use super::*;

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
