//! The body of a status, with the epochs of a log.

use super::super::id::{Epoch, Incarnation, Lsn, Tick, TransferId};
use super::super::message::{Standing, Status};
use super::{check_epoch, check_history, check_lsn};
use crate::envelope::{Error, decode_body, encode_body};

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct StatusV1 {
    epoch: Epoch,
    from: Incarnation,
    sent: Tick,
    granted: bool,
    standing: StandingV1,
    starts: Vec<(Epoch, Lsn)>,
    end: Lsn,
    floor: Lsn,
    transfer: Option<TransferId>,
    sees_primary: bool,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
enum StandingV1 {
    Outside,
    Doubtful(Epoch),
    Sound(Epoch),
}

pub(super) fn encode(status: &Status) -> Vec<u8> {
    encode_body(&StatusV1 {
        epoch: status.epoch,
        from: status.from,
        sent: status.sent,
        granted: status.granted,
        standing: match status.standing {
            Standing::Outside => StandingV1::Outside,
            Standing::Doubtful(epoch) => StandingV1::Doubtful(epoch),
            Standing::Sound(epoch) => StandingV1::Sound(epoch),
        },
        starts: status.history.starts().to_vec(),
        end: status.history.end().lsn,
        floor: status.floor,
        transfer: status.transfer,
        sees_primary: status.sees_primary,
    })
}

pub(super) fn decode(body: &[u8]) -> Result<Status, Error> {
    let stored: StatusV1 = decode_body(body)?;
    Ok(Status {
        epoch: check_epoch(stored.epoch)?,
        from: stored.from,
        sent: stored.sent,
        granted: stored.granted,
        standing: match stored.standing {
            StandingV1::Outside => Standing::Outside,
            StandingV1::Doubtful(epoch) => Standing::Doubtful(check_epoch(epoch)?),
            StandingV1::Sound(epoch) => Standing::Sound(check_epoch(epoch)?),
        },
        history: check_history(stored.starts, stored.end)?,
        floor: check_lsn(stored.floor)?,
        transfer: stored.transfer,
        sees_primary: stored.sees_primary,
    })
}
