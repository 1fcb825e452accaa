//! How the authority's key gets from one member to another, over a link on which both have shown who they are.
//!
//! Specified in `docs/protocol.md`, "Identity". Who is given it is for the node that is asked to decide.

use zeroize::Zeroizing;

use super::authority::Authority;
use super::error::Error;
use crate::envelope::{Kind, Message, decode_body, encode_body};

/// The question for it.
pub const AUTHORITY: Kind = Kind::control(2);

/// The question for the authority that is to take its place.
pub const NEXT_AUTHORITY: Kind = Kind::control(6);

/// The answer to both.
const HANDED: Kind = Kind::control(3);

/// What errors call an answer.
const ANSWER: &str = "another node's answer";

/// The authority's file, or nothing if the node has none or does not give it.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct HandedV1 {
    file: Option<Vec<u8>>,
}

/// The message that asks for it.
#[must_use]
pub fn ask_authority() -> Message {
    Message::new(AUTHORITY, Vec::new())
}

/// The message that asks for the authority that is to take its place. A node that knows of no other answers with none, and one whose
/// program knows of no such change does not answer.
#[must_use]
pub fn ask_next_authority() -> Message {
    Message::new(NEXT_AUTHORITY, Vec::new())
}

/// The answer to either.
#[must_use]
pub fn hand_authority(authority: Option<&Authority>) -> Message {
    handed(authority.map(|authority| authority.encode().to_vec()))
}

pub(super) fn handed(file: Option<Vec<u8>>) -> Message {
    Message::new(HANDED, encode_body(&HandedV1 { file }))
}

/// The authority in an answer, if it has one and that is the authority with this certificate, X.509 DER.
///
/// # Errors
/// [`Error::Damaged`] if it is no answer, [`Error::Name`] if it is of another authority.
pub fn take_authority(message: &Message, certificate: &[u8]) -> Result<Option<Authority>, Error> {
    let damaged = |what| Error::Damaged { name: ANSWER, what };
    if message.kind != HANDED {
        return Err(damaged("it answers something else"));
    }
    let HandedV1 { file } = decode_body(&message.body).map_err(|_| damaged("it cannot be read"))?;
    file.map(Zeroizing::new).map(|file| Authority::decode(&file, certificate)).transpose()
}
