//! Bytes as messages from a peer, as the body of each kind there is, as a token and as a file of keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use net::envelope::{Hello, Kind, Message, Opening, VERSION, Welcome, take};
use net::identity::{Credentials, Folder, MemoryFolder};
use net::join::{JoinRequest, Token, decode_answer};
use net::replication::wire;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((message, after)) = take(rest, VERSION) {
        body(&message);
        rest = after;
    }
    let joining = [Kind::HELLO, Kind::WELCOME, Kind::OPENING, Kind::JOIN_REQUEST, Kind::JOIN_ANSWER];
    for kind in joining.into_iter().chain((1..=9).map(Kind::journal)) {
        body(&Message::new(kind, bytes.to_vec()));
    }
    if let Ok(token) = String::from_utf8_lossy(bytes).parse::<Token>() {
        assert_eq!(token.to_string().parse(), Ok(token));
    }
    let folder = MemoryFolder::default();
    folder.replace("node", bytes).expect("memory takes it");
    // Bad bytes are an error; good ones nobody guesses.
    let _ = Credentials::load(&folder);
});

/// Reads a body as what its kind says. What is read is what is written.
fn body(message: &Message) {
    if let Ok(hello) = Hello::decode(message) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(welcome) = Welcome::decode(message) {
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
    }
    if let Ok(opening) = Opening::decode(message) {
        assert_eq!(Opening::decode(&opening.encode()), Ok(opening));
    }
    if let Ok(request) = JoinRequest::decode(message) {
        assert_eq!(JoinRequest::decode(&request.encode()), Ok(request));
    }
    if let Ok(said) = wire::decode(message) {
        assert_eq!(wire::decode(&wire::encode(&said)), Ok(said));
    }
    // An answer may name more members than one is written with.
    let _ = decode_answer(message);
}
