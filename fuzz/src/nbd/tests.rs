use super::{Victim, handshake, handshake_under_tls, negotiate_tls, requests};

#[test]
fn the_handshake_is_good_and_requests_are_answered() {
    let victim = Victim::start().unwrap();
    let greeted = victim.say(&handshake()).unwrap();
    // A read of 16 bytes at 0 as a structured reply: a chunk of 20 + 8 + 16 bytes.
    let read = requests(&[0, 0, 0, 0, 0, 16, 0, 9]);
    let answered = victim.say(&[handshake(), read].concat()).unwrap();
    assert_eq!(answered[..greeted.len()], greeted);
    assert!(answered.len() > greeted.len() + 16, "the server answers in transmission");
}

#[test]
fn tls_begins_where_starttls_comes_alone() {
    let bytes = handshake_under_tls();
    assert!(negotiate_tls(&bytes, 4), "in steps that end with the option");
    assert!(!negotiate_tls(&bytes, bytes.len()), "not with more behind it");
    assert!(!negotiate_tls(&handshake(), 4), "nor without it");
}
