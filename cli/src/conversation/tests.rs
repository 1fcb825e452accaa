use std::os::unix::net::UnixStream;

use indicatif::ProgressBar;
use siltstone::control::{Peer, Received};

use super::Conversation;

#[test]
fn an_end_that_left_with_something_unheard_has_ended() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut conversation = Conversation::new(&ours, &ours, ProgressBar::hidden());
    conversation.send(0, b"nobody reads this").unwrap();
    drop(theirs);
    let heard = conversation.receive().unwrap();
    assert_eq!(heard, Received::End { size_bytes: 0 }, "a socket says that it was reset");
    assert!(conversation.has_ended());
    conversation.send(17, b"nor this").unwrap();
}
