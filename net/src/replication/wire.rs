//! What replicas say to each other, as bytes: a kind of the journal family for each [`Message`], and a frozen type for
//! each body.
//!
//! Specified in `docs/protocol.md`, "Replication". What is decoded holds together as a replica takes for granted: places
//! are places, records go on from each other, and no number is so large that counting on from it would overflow.

mod append;
mod status;
#[cfg(test)]
mod tests;

use super::history::{History, Position};
use super::id::{Epoch, Incarnation, Lsn, Tick, TransferId};
use super::message::{Appended, Credit, Greet, Message, Offer, Shortage};
use crate::envelope::{self, Error, Kind, decode_body, encode_body};

/// Most records in one message.
pub const RECORDS_MAX: usize = 1 << 16;

/// Most bytes of payload in one message, and so in one record. What is left of a body's limit is for what goes before it.
pub const PAYLOAD_BYTES_MAX: u64 = 3 << 20;

/// No LSN or epoch is larger: one a nanosecond takes 290 years.
const NUMBER_MAX: u64 = u64::MAX / 2;

const GREET: Kind = Kind::journal(1);
const STATUS: Kind = Kind::journal(2);
const APPEND: Kind = Kind::journal(3);
const APPENDED: Kind = Kind::journal(4);
const OFFER: Kind = Kind::journal(5);
const READY: Kind = Kind::journal(6);
const WANT_SYNC: Kind = Kind::journal(7);
const RESIGNED: Kind = Kind::journal(8);
const STALE: Kind = Kind::journal(9);
const CREDIT: Kind = Kind::journal(10);

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct GreetV1 {
    epoch: Epoch,
    sent: Tick,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct AppendedV1 {
    epoch: Epoch,
    from: Incarnation,
    sent: Tick,
    granted: bool,
    held: Lsn,
    synced: Lsn,
    resend_after: Option<Lsn>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct OfferV1 {
    epoch: Epoch,
    to: Incarnation,
    transfer: TransferId,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct CreditV1 {
    epoch: Epoch,
    from: Incarnation,
    at: Lsn,
    bytes: u64,
    shortage: ShortageV1,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum ShortageV1 {
    None,
    Full,
    Stuck,
}

/// The body of what says nothing but its epoch.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct EpochV1 {
    epoch: Epoch,
}

/// The form of a message on the wire. Payloads are copied, once.
#[must_use]
pub fn encode(message: &Message) -> envelope::Message {
    let (kind, body) = match message {
        Message::Greet(greet) => (GREET, encode_body(&GreetV1 { epoch: greet.epoch, sent: greet.sent })),
        Message::Status(status) => (STATUS, status::encode(status)),
        Message::Append(append) => (APPEND, append::encode(append)),
        Message::Appended(appended) => (APPENDED, encode_appended(appended)),
        Message::Offer(offer) => (OFFER, encode_offer(offer)),
        Message::Ready(offer) => (READY, encode_offer(offer)),
        Message::WantSync(epoch) => (WANT_SYNC, encode_body(&EpochV1 { epoch: *epoch })),
        Message::Resigned(epoch) => (RESIGNED, encode_body(&EpochV1 { epoch: *epoch })),
        Message::Stale(epoch) => (STALE, encode_body(&EpochV1 { epoch: *epoch })),
        Message::Credit { epoch, from, credit } => (CREDIT, encode_credit(*epoch, *from, credit)),
    };
    envelope::Message::new(kind, body)
}

/// Reads a message. Payloads are not copied: they are parts of its body.
///
/// # Errors
/// [`Error::Misplaced`] if it is of a kind that replicas do not say, [`Error::Body`] if its body is not what its kind says
/// or does not hold together. The peer breaks the protocol then.
pub fn decode(message: &envelope::Message) -> Result<Message, Error> {
    let body = &message.body;
    let decoded = match message.kind {
        GREET => {
            let GreetV1 { epoch, sent } = decode_body(body)?;
            Message::Greet(Greet { epoch: check_epoch(epoch)?, sent })
        }
        STATUS => Message::Status(status::decode(body)?),
        APPEND => Message::Append(append::decode(body)?),
        APPENDED => Message::Appended(decode_appended(body)?),
        OFFER => Message::Offer(decode_offer(body)?),
        READY => Message::Ready(decode_offer(body)?),
        WANT_SYNC => Message::WantSync(decode_epoch(body)?),
        RESIGNED => Message::Resigned(decode_epoch(body)?),
        STALE => Message::Stale(decode_epoch(body)?),
        CREDIT => decode_credit(body)?,
        Kind(other) => return Err(Error::Misplaced(other)),
    };
    Ok(decoded)
}

fn encode_appended(appended: &Appended) -> Vec<u8> {
    let Appended { epoch, from, sent, granted, held, synced, resend_after } = *appended;
    encode_body(&AppendedV1 { epoch, from, sent, granted, held, synced, resend_after })
}

fn decode_appended(body: &[u8]) -> Result<Appended, Error> {
    let AppendedV1 { epoch, from, sent, granted, held, synced, resend_after } = decode_body(body)?;
    Ok(Appended {
        epoch: check_epoch(epoch)?,
        from,
        sent,
        granted,
        held: check_lsn(held)?,
        synced: check_lsn(synced)?,
        resend_after: resend_after.map(check_lsn).transpose()?,
    })
}

fn encode_offer(offer: &Offer) -> Vec<u8> {
    let Offer { epoch, to, transfer } = *offer;
    encode_body(&OfferV1 { epoch, to, transfer })
}

fn decode_offer(body: &[u8]) -> Result<Offer, Error> {
    let OfferV1 { epoch, to, transfer } = decode_body(body)?;
    Ok(Offer { epoch: check_epoch(epoch)?, to, transfer })
}

fn encode_credit(epoch: Epoch, from: Incarnation, credit: &Credit) -> Vec<u8> {
    let Credit { at, bytes, shortage } = *credit;
    let shortage = match shortage {
        Shortage::None => ShortageV1::None,
        Shortage::Full => ShortageV1::Full,
        Shortage::Stuck => ShortageV1::Stuck,
    };
    encode_body(&CreditV1 { epoch, from, at, bytes, shortage })
}

fn decode_credit(body: &[u8]) -> Result<Message, Error> {
    let CreditV1 { epoch, from, at, bytes, shortage } = decode_body(body)?;
    let shortage = match shortage {
        ShortageV1::None => Shortage::None,
        ShortageV1::Full => Shortage::Full,
        ShortageV1::Stuck => Shortage::Stuck,
    };
    let credit = Credit { at: check_lsn(at)?, bytes, shortage };
    Ok(Message::Credit { epoch: check_epoch(epoch)?, from, credit })
}

fn decode_epoch(body: &[u8]) -> Result<Epoch, Error> {
    let EpochV1 { epoch } = decode_body(body)?;
    check_epoch(epoch)
}

fn check_epoch(epoch: Epoch) -> Result<Epoch, Error> {
    if epoch.0 <= NUMBER_MAX { Ok(epoch) } else { Err(Error::Body) }
}

pub(crate) fn check_lsn(lsn: Lsn) -> Result<Lsn, Error> {
    if lsn.0 <= NUMBER_MAX { Ok(lsn) } else { Err(Error::Body) }
}

/// That a history is one, within what numbers may be.
pub(crate) fn check_history(starts: Vec<(Epoch, Lsn)>, end: Lsn) -> Result<History, Error> {
    let history = History::new(starts, check_lsn(end)?).ok_or(Error::Body)?;
    check_epoch(history.end().epoch)?;
    Ok(history)
}

/// That a place is one: LSN 0 is before any record, and so before any epoch.
fn check_position(position: Position) -> Result<Position, Error> {
    check_epoch(position.epoch)?;
    check_lsn(position.lsn)?;
    if (position.epoch == Epoch(0)) == (position.lsn == Lsn(0)) { Ok(position) } else { Err(Error::Body) }
}
