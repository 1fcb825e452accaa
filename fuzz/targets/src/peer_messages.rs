//! Bytes as messages from a peer, as the body of each kind there is, as a token and as a file of keys.

#![no_main]

use fuzz::peer::read;
use libfuzzer_sys::fuzz_target;
use net::envelope::{Kind, Message, VERSION, take};
use net::identity::{Credentials, Folder, MemoryFolder};
use net::join::Token;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((message, after)) = take(rest, VERSION) {
        read(&message);
        rest = after;
    }
    let joining = [Kind::HELLO, Kind::WELCOME, Kind::OPENING, Kind::JOIN_REQUEST, Kind::JOIN_ANSWER];
    for kind in joining.into_iter().chain((1..=9).map(Kind::journal)) {
        read(&Message::new(kind, bytes.to_vec()));
    }
    if let Ok(token) = String::from_utf8_lossy(bytes).parse::<Token>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    let folder = MemoryFolder::default();
    folder.replace("node", bytes).expect("memory takes it");
    // Bad bytes are an error; good ones nobody guesses.
    let _ = Credentials::load(&folder);
});
