use std::io::Write;
use std::os::unix::net::UnixStream;

use super::Other;

#[test]
fn an_end_that_left_with_something_unheard_has_ended() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut from, mut to) = (&ours, &ours);
    let mut other = Other::new(&mut from, &mut to);
    other.say(b"nobody reads this").unwrap();
    drop(theirs);
    assert_eq!(other.hear().unwrap(), b"", "a socket says that it was reset");
    other.say(b"nor this").unwrap();
}

#[test]
fn what_it_said_before_is_heard() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut from, mut to) = (&ours, &ours);
    let mut other = Other::new(&mut from, &mut to);
    (&theirs).write_all(b"why").unwrap();
    drop(theirs);
    other.say(b"too late").unwrap();
    assert_eq!((other.hear().unwrap(), other.hear().unwrap()), (b"why".to_vec(), Vec::new()));
}
