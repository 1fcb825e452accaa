//! Questions of other nodes about volumes that this node serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lsm_store::request::{BlockState, StatusExtent};
use lsm_store::{Error, ErrorKind};
use net::envelope::Message;
use net::forward::{Answer, Asked, Attempt, Brought, Question, Refused, SnapshotEntry, decode_question, encode_answer};
use net::id::{NodeId, VolumeId};
use net::replication::{Outcome, PauseId, Refusal};
use parking_lot::Mutex;

use super::answer_room::Taken;
use super::changes::changes_here;
use super::core::Core;
use crate::export::Export;
use crate::name::VolumeName;
use crate::node::NodeError;
use crate::replica::LocalReplica;
use crate::replica::operation::Draft;

/// Sessions whose attempts are remembered; beyond that those asked about longest ago are forgotten.
const SESSIONS_MAX: usize = 4096;

/// How long a request may take before the asker is told that its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(4);

/// Extents of one answer at most.
const EXTENTS_MAX: usize = 1024;

/// How long a read waits for the replica to be able to answer.
const READ_WAIT: Duration = Duration::from_millis(5);

/// How often a read is attempted before the asker is told to ask again.
const READ_ATTEMPTS: u32 = 50;

/// The newest attempt of each session that asked this node to write.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// With when each was last heard of, counted in questions.
    attempts: HashMap<u64, (u64, u64)>,
    count: u64,
}

impl Sessions {
    /// Notes an attempt, and has `go` begin the request if no later one of its session was seen. Nothing of the session is
    /// noted in between.
    fn enter<T>(&self, attempt: Attempt, go: impl FnOnce() -> T) -> Option<T> {
        let mut seen = self.0.lock();
        seen.count += 1;
        let now = seen.count;
        let entry = seen.attempts.entry(attempt.session).or_default();
        if attempt.number < entry.0 {
            return None;
        }
        *entry = (attempt.number, now);
        if seen.attempts.len() > SESSIONS_MAX {
            let oldest = seen.attempts.iter().min_by_key(|(_, (_, heard))| *heard).map(|(session, _)| *session);
            oldest.and_then(|session| seen.attempts.remove(&session));
        }
        Some(go())
    }
}

impl Core {
    /// Answers a question. Blocks until every member has done its part.
    pub(super) fn answer(&self, from: NodeId, message: &Message) -> Message {
        let Ok(Question { volume, asked }) = decode_question(message) else {
            let result = Err(Refused::Failed("the question is not one".into()));
            return encode_answer(&Answer { served: Default::default(), result });
        };
        let Some(replica) = self.replica(volume) else {
            let primary = self.volume(volume).map(|volume| volume.replicas.primary);
            return encode_answer(&Answer { served: Default::default(), result: Err(Refused::NotPrimary(primary)) });
        };
        let Some(room) = self.room_for(from, &asked) else {
            return encode_answer(&Answer { served: Default::default(), result: Err(Refused::NotReady) });
        };
        let result = self.answer_here(&replica, from, volume, asked);
        let Message { kind, body } = encode_answer(&Answer { served: replica.shared().serving.epochs(), result });
        Message { kind, body: room.holding(body) }
    }

    /// Room for an answer; `None` if there is none now. What is short takes none.
    fn room_for(&self, node: NodeId, asked: &Asked) -> Option<Taken> {
        let bytes = if let Asked::Read { len, .. } = asked { u64::from(*len) } else { 0 };
        self.answer_room.take(node, bytes)
    }

    fn answer_here(
        &self,
        replica: &Arc<LocalReplica>,
        from: NodeId,
        volume: VolumeId,
        asked: Asked,
    ) -> Result<Brought, Refused> {
        match asked {
            // Also while it does not serve yet: it keeps the wish until it can fulfil it.
            Asked::HandOver => done(replica.hand_over(from, PATIENCE)),
            // Also while its lease is over: it may go on.
            Asked::Resume(pause) => {
                replica.resume(PauseId(pause));
                Ok(Brought::Nothing)
            }
            _ if !replica.serves() => {
                let primary = self.volume(volume).map(|volume| volume.replicas.primary);
                Err(Refused::NotPrimary(primary.filter(|node| *node != self.me)))
            }
            Asked::Write(attempt, records) => {
                let drafts = read_records(records)?;
                // Not until the pause is over: whoever ends it must find a thread that is free.
                if !replica.wait_resumed() {
                    return Err(Refused::NotReady);
                }
                replica.wait_memory();
                let begun = self.sessions.enter(attempt, || replica.begin_write(&drafts, None));
                let outcome = begun
                    .ok_or(Refused::Overtaken)?
                    .map_or(Outcome::Refused(Refusal::NotReady), |it| it.wait_for(PATIENCE));
                done(outcome)
            }
            Asked::Flush => done(replica.flush_for(PATIENCE)),
            Asked::Read { snapshot, offset, len } => {
                if snapshot.is_none() {
                    self.check_range(replica, (offset, len.into()))?;
                }
                let found = read_here(self, replica, snapshot.as_deref(), offset, len as usize);
                found.map_err(|error| refused(&error))?.map(Brought::Bytes).ok_or(Refused::NotReady)
            }
            Asked::Status { snapshot, offset, len, extents_max } => {
                let (range, extents_max) = ((offset, len), (extents_max as usize).clamp(1, EXTENTS_MAX));
                if snapshot.is_none() {
                    self.check_range(replica, range)?;
                }
                let found = match &snapshot {
                    None => replica.block_status(offset, len, extents_max),
                    snapshot => snapshot_status(self, replica, snapshot.as_deref(), range, extents_max),
                };
                let extents = found.map_err(|error| refused(&error))?.ok_or(Refused::NotReady)?;
                Ok(Brought::Extents(extents.iter().map(|extent| (extent.len, number(extent.state))).collect()))
            }
            Asked::Changes { from, to, offset, len } => {
                let found = changes_here(self, replica, &from, to.as_deref(), (offset, len));
                let changes = found.map_err(|error| refused(&error))?.ok_or(Refused::NotReady)?;
                Ok(Brought::Changes(Box::new(changes)))
            }
            Asked::Pause { pause, snapshot } => {
                self.pause_here(replica, PauseId(pause), &snapshot).map(|()| Brought::Nothing)
            }
            Asked::PausedWrite { pause, record } => {
                let begun = replica.begin_paused(&read_records(vec![record])?, PauseId(pause));
                done(begun.map_or(Outcome::Refused(Refusal::NotReady), |it| it.wait_for(PATIENCE)))
            }
            Asked::Size => replica.size_bytes().map(Brought::Size).ok_or(Refused::NotReady),
            Asked::Snapshots if !replica.has_all_barriers() => Err(Refused::NotReady),
            Asked::Snapshots => snapshots(self, volume).map(Brought::Snapshots).map_err(|error| refused(&error)),
        }
    }
}

impl Core {
    /// That a volume has this range: the asker may know of a size that this node has not heard of, or not applied yet.
    fn check_range(&self, replica: &LocalReplica, (offset, len): (u64, u64)) -> Result<(), Refused> {
        let size_bytes = self.size_bytes(replica.shared().id).max(replica.shared().volume.size_bytes());
        match offset.checked_add(len) {
            Some(end) if end <= size_bytes => Ok(()),
            Some(_) if !replica.has_all_barriers() => Err(Refused::NotReady),
            _ => Err(Refused::Failed("the range is beyond the end of the volume".into())),
        }
    }
}

/// What is to be ordered, if it can be applied: no replica could go on behind a record that is none.
fn read_records(records: Vec<Bytes>) -> Result<Vec<Draft>, Refused> {
    let drafts: Result<Vec<_>, _> = records.into_iter().map(Draft::read).collect();
    drafts
        .ok()
        .filter(|drafts| !drafts.is_empty())
        .ok_or_else(|| Refused::Failed("what is to be written is not what this node's program understands".into()))
}

/// Bytes of a volume that this node serves, or of a snapshot of it; `None`: ask again.
pub(super) fn read_here(
    core: &Core,
    replica: &LocalReplica,
    snapshot: Option<&str>,
    offset: u64,
    len: usize,
) -> Result<Option<Bytes>, Error> {
    let data = match snapshot {
        Some(_) if !replica.has_all_barriers() => None,
        Some(_) => Some(open_snapshot(core, replica.shared().id, snapshot)?.volume().read(offset, len)?),
        None => read_patiently(core, replica, offset, len)?,
    };
    Ok(data.map(|data| {
        let mut bytes = vec![0; len];
        data.copy_to(&mut bytes);
        bytes.into()
    }))
}

fn read_patiently(
    core: &Core,
    replica: &LocalReplica,
    offset: u64,
    len: usize,
) -> Result<Option<lsm_store::read::ReadData>, Error> {
    for attempt in 0..READ_ATTEMPTS {
        if attempt > 0 {
            core.wait_change(READ_WAIT);
        }
        let found = replica.read(offset, len)?;
        if found.is_some() || !replica.serves() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn open_snapshot(
    core: &Core,
    volume: VolumeId,
    snapshot: Option<&str>,
) -> Result<Arc<crate::node::VolumeExport>, Error> {
    let none = || Error::NoSuchVolume(lsm_store::id::VolumeId::default());
    let name: VolumeName = snapshot.and_then(|name| name.parse().ok()).ok_or_else(none)?;
    core.node.replica_snapshot(volume, &name).map_err(store_error)
}

/// What a failure of this node is for whoever asks.
pub(super) fn store_error(error: NodeError) -> Error {
    match error {
        NodeError::Store(error) => error,
        _ => Error::NoSuchVolume(lsm_store::id::VolumeId::default()),
    }
}

/// The states of a range of a snapshot of a volume that this node serves; `None`: ask again, as what was ordered before is not done yet.
pub(super) fn snapshot_status(
    core: &Core,
    replica: &LocalReplica,
    snapshot: Option<&str>,
    (offset, len): (u64, u64),
    extents_max: usize,
) -> Result<Option<Vec<StatusExtent>>, Error> {
    if !replica.has_all_barriers() {
        return Ok(None);
    }
    open_snapshot(core, replica.shared().id, snapshot)?.block_status(offset, len, extents_max).map(Some)
}

/// The snapshots of a volume that this node has, from the oldest.
pub(super) fn snapshots(core: &Core, volume: VolumeId) -> Result<Vec<SnapshotEntry>, Error> {
    let found = core.node.replica_snapshots(volume).map_err(store_error)?;
    let entry = |snapshot: crate::node::NamedSnapshot| SnapshotEntry {
        name: snapshot.name.snapshot.to_string(),
        size_bytes: snapshot.info.size_bytes,
        created_ms: snapshot.info.created_ms,
    };
    Ok(found.into_iter().map(entry).collect())
}

pub(super) fn done(outcome: Outcome) -> Result<Brought, Refused> {
    match outcome {
        Outcome::Done => Ok(Brought::Nothing),
        Outcome::Unknown => Err(Refused::Unknown),
        Outcome::Refused(Refusal::NotPrimary(node)) => Err(Refused::NotPrimary(node)),
        Outcome::Refused(Refusal::OutOfSpace) => Err(Refused::OutOfSpace),
        Outcome::Refused(_) => Err(Refused::NotReady),
    }
}

pub(super) fn refused(error: &Error) -> Refused {
    match error.kind() {
        ErrorKind::NotFound => Refused::NotFound,
        ErrorKind::OutOfSpace => Refused::OutOfSpace,
        _ => Refused::Failed(error.to_string()),
    }
}

fn number(state: BlockState) -> u8 {
    match state {
        BlockState::Data => 0,
        BlockState::Zero => 1,
        BlockState::Hole => 2,
    }
}

#[cfg(test)]
mod tests;
