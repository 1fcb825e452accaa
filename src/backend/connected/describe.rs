//! What a daemon's answers say, in the library's terms.

use std::ops::Range;

use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::net::control::{
    ChangedRange, Changes, Collected as CollectedAnswer, ObjectDescription, ReceivedDescription, ReceptionDescription,
    ScrubDescription, ScrubbedVolume, SentDescription, SnapshotDescription, SpaceStatus, UploadDescription,
    Usage as UsageAnswer, VolumeDescription, VolumeUsage,
};

use crate::error::{Cause, Caused};
use crate::objects::{ObjectInfo, UploadInfo};
use crate::root_digest::Root;
use crate::scrub::{Damage, ScrubStatus, Verified};
use crate::snapshot::SnapshotInfo;
use crate::space::{Collected, Space, Usage, ViewUsage};
use crate::streams::{Received, ReceptionInfo, Sent};
use crate::volume::VolumeInfo;

pub(super) fn volume(volume: VolumeDescription) -> Caused<VolumeInfo> {
    Ok(VolumeInfo {
        name: volume.name,
        id: volume.id,
        size_bytes: volume.size_bytes,
        codec: volume.codec.parse().map_err(|_| Cause::Answer)?,
        created_ms: milliseconds(&volume.created)?,
        is_ready: volume.state == "ready",
        connections: volume.connections,
        snapshots: volume.snapshots,
        reserve_bytes: volume.reserve_bytes,
        quota_bytes: volume.quota_bytes,
    })
}

pub(super) fn snapshot(snapshot: SnapshotDescription) -> Caused<SnapshotInfo> {
    Ok(SnapshotInfo {
        name: snapshot.name,
        volume: snapshot.volume,
        id: snapshot.id,
        size_bytes: snapshot.size_bytes,
        created_ms: milliseconds(&snapshot.created)?,
        connections: snapshot.connections,
    })
}

/// A time as answers have it, in milliseconds since the Unix epoch.
fn milliseconds(rfc3339: &str) -> Caused<u64> {
    let time: jiff::Timestamp = rfc3339.parse().map_err(|_| Cause::Answer)?;
    u64::try_from(time.as_millisecond()).map_err(|_| Cause::Answer)
}

pub(super) fn object(object: ObjectDescription) -> Caused<ObjectInfo> {
    Ok(ObjectInfo {
        name: object.name,
        size_bytes: object.size_bytes,
        created_ms: milliseconds(&object.created)?,
        expires_ms: object.expires.as_deref().map(milliseconds).transpose()?,
        is_fixed: object.chunker == "fixed",
        codec: object.codec.parse().map_err(|_| Cause::Answer)?,
        metadata: object.metadata,
    })
}

pub(super) fn upload(upload: UploadDescription) -> Caused<UploadInfo> {
    Ok(UploadInfo {
        name: upload.name,
        began_ms: milliseconds(&upload.began)?,
        expires_ms: upload.expires.as_deref().map(milliseconds).transpose()?,
    })
}

pub(super) fn root(text: &str) -> Caused<Root> {
    text.parse().map(Root).map_err(|_| Cause::Answer)
}

pub(super) fn sent(sent: &SentDescription) -> Caused<Sent> {
    Ok(Sent {
        size_bytes: sent.size_bytes,
        data_bytes: sent.data_bytes,
        had_bytes: sent.had_bytes,
        stream_bytes: sent.stream_bytes,
        root: root(&sent.root)?,
    })
}

pub(super) fn received(received: ReceivedDescription) -> Caused<Received> {
    Ok(Received {
        root: root(&received.root)?,
        name: received.name,
        id: received.id,
        base: received.from,
        size_bytes: received.size_bytes,
        data_bytes: received.data_bytes,
        had_bytes: received.had_bytes,
    })
}

pub(super) fn changes(page: &Changes) -> Caused<(Vec<Range<u64>>, Option<u64>)> {
    let range = |range: &ChangedRange| Some(range.offset..range.offset.checked_add(range.length)?);
    let ranges = page.extents.iter().map(range).collect::<Option<_>>().ok_or(Cause::Answer)?;
    Ok((ranges, page.next_offset))
}

pub(super) fn reception(reception: ReceptionDescription) -> Caused<ReceptionInfo> {
    Ok(ReceptionInfo {
        name: reception.name,
        size_bytes: reception.size_bytes,
        began_ms: milliseconds(&reception.began)?,
        expires_ms: milliseconds(&reception.expires)?,
    })
}

pub(super) fn space(space: &SpaceStatus) -> Space {
    Space {
        total_bytes: space.total_bytes,
        used_bytes: space.used_bytes,
        free_bytes: space.free_bytes,
        reserved_bytes: space.reserved_bytes,
    }
}

pub(super) fn usage(usage: UsageAnswer) -> Usage {
    let mut views: Vec<_> = usage.volumes.into_iter().map(view_usage).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Usage {
        views,
        mapped_bytes: usage.node.mapped_bytes,
        distinct_bytes: usage.node.distinct_bytes,
        stored_bytes: usage.node.stored_bytes,
        disk_bytes: usage.node.disk_bytes,
    }
}

fn view_usage(usage: VolumeUsage) -> ViewUsage {
    ViewUsage {
        name: usage.name,
        size_bytes: usage.size_bytes,
        mapped_bytes: usage.mapped_bytes,
        distinct_bytes: usage.distinct_bytes,
        stored_bytes: usage.stored_bytes,
        unique_bytes: usage.unique_bytes,
        frees_bytes: usage.frees_bytes,
    }
}

pub(super) fn collected(collected: &CollectedAnswer) -> Collected {
    Collected { reclaimed_bytes: collected.segment_bytes, moved_bytes: collected.relocated_bytes }
}

pub(super) fn scrub(scrub: &ScrubDescription) -> ScrubStatus {
    ScrubStatus {
        is_running: scrub.began.is_some(),
        done_bytes: scrub.bytes_done,
        total_bytes: scrub.bytes_total,
        damaged_places: scrub.damage.len() as u64 + scrub.damage_left_out,
    }
}

pub(super) fn verified(scrubbed: ScrubbedVolume) -> Verified {
    let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_BYTES as u64);
    let damage = scrubbed.damage.into_iter().map(|damage| Damage {
        range: damage.offset..damage.offset.saturating_add(damage.length),
        what: damage.what,
        file: damage.file,
    });
    Verified {
        good_bytes: bytes(scrubbed.blocks_good),
        damaged_bytes: bytes(scrubbed.blocks_damaged),
        damage: damage.collect(),
    }
}
