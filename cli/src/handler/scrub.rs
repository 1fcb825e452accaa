//! Scrubs, and the damage that is known.

use std::collections::HashMap;
use std::time::Duration;

use siltstone::control::{
    self, DamageDescription, DamagedRange, Failure, Kind, Peer, Progress, Response, Scrub, ScrubAction,
    ScrubDescription, ScrubbedVolume, TouchedDescription,
};
use siltstone::name::ExportName;
use siltstone::node::NodeError;
use siltstone::span::Span;
use siltstone::store::id::{BLOCK_BYTES, VolumeId};
use siltstone::store::store::{ScrubDamage, ScrubSettings, ScrubStatus, TouchedRange, VolumeScrub};

use super::{NodeHandler, failure, name};
use crate::output::rfc3339;

impl NodeHandler {
    pub(super) fn scrub(&self, scrub: &Scrub) -> Result<Response, Failure> {
        let store = self.node.store();
        let failed = |error| failure(NodeError::from(error));
        if scrub.rate_bytes.is_some() || scrub.every.is_some() {
            let now = store.scrub_status().settings;
            let every = scrub.every.as_deref().map_or(Ok(now.every), every)?;
            let rate_bytes = scrub.rate_bytes.unwrap_or(now.rate_bytes);
            store.set_scrub(ScrubSettings { rate_bytes, every }).map_err(failed)?;
        }
        match scrub.action {
            ScrubAction::Status => {}
            ScrubAction::Start => drop(store.start_scrub().map_err(failed)?),
            ScrubAction::Pause => store.pause_scrub().map_err(failed)?,
            ScrubAction::Resume => store.resume_scrub().map_err(failed)?,
            _ => return Err(Failure::new(Kind::Unsupported, "this node is too old to know what to do about scrubs")),
        }
        Ok(Response::Scrub(Box::new(self.describe_scrub())))
    }

    pub(super) fn describe_scrub(&self) -> ScrubDescription {
        let status = self.node.store().scrub_status();
        let ScrubStatus { settings, paused, pass, completed_ms, damages, damages_left_out, damages_gone } = status;
        let state = match (self.node.store().status().stopped.is_some(), paused, pass.is_some()) {
            (true, _, _) => "stopped",
            (_, true, _) => "paused",
            (_, _, true) if self.node.store().is_read_only() => "interrupted",
            (_, _, true) => "running",
            _ => "idle",
        };
        let names = if damages.is_empty() { HashMap::new() } else { self.names() };
        ScrubDescription {
            state: state.into(),
            rate_bytes: settings.rate_bytes,
            every: settings
                .every
                .and_then(|every| Span::from_seconds(every.as_secs()).ok())
                .map(|span| span.to_string()),
            began: pass.map(|pass| rfc3339(pass.began_ms)),
            bytes_done: pass.map_or(0, |pass| pass.bytes_done),
            bytes_total: pass.map_or(0, |pass| pass.bytes_total),
            completed: completed_ms.map(rfc3339),
            damage_left_out: damages_left_out,
            damage: damages.into_iter().map(|damage| describe(damage, &names)).collect(),
            damage_gone_total: damages_gone,
        }
    }

    /// What volumes, snapshots and objects are called, those in the trash too.
    fn names(&self) -> HashMap<VolumeId, String> {
        let volumes = self.node.volumes().into_iter().map(|volume| (volume.info.id, volume.name.to_string()));
        let snapshots = self.node.all_snapshots().into_iter();
        let snapshots = snapshots.map(|snapshot| (snapshot.info.id, snapshot.name.to_string()));
        let trash = self.node.trash().into_iter();
        let trash = trash.map(|volume| (volume.info.id, format!("{} in the trash", volume.trashed.name)));
        let objects = self.node.objects("", None, usize::MAX).into_iter();
        let objects = objects.map(|object| (object.entry.id, format!("object {}", object.name)));
        volumes.chain(snapshots).chain(trash).chain(objects).collect()
    }

    pub(super) fn scrub_volume(&self, text: &str, snapshots: bool, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let mut names: Vec<ExportName> = vec![name(text)?];
        self.check_exists(&names[0])?;
        if snapshots {
            let volume = names[0].volume().clone();
            let of_volume = self.node.all_snapshots().into_iter().filter(|snapshot| snapshot.name.volume == volume);
            let others = of_volume.map(|snapshot| ExportName::Snapshot(snapshot.name));
            let others: Vec<_> = others.filter(|name| *name != names[0]).collect();
            names.extend(others);
        }
        let volumes = names.iter().map(|name| self.scrub_one(name, peer)).collect::<Result<_, _>>()?;
        Ok(Response::ScrubbedVolumes { volumes })
    }

    fn scrub_one(&self, name: &ExportName, peer: &mut dyn Peer) -> Result<ScrubbedVolume, Failure> {
        let id = match name {
            ExportName::Volume(name) => self.node.volume(name).map_err(failure)?.info.id,
            ExportName::Snapshot(name) => self.node.find_snapshot(name).map_err(failure)?.info.id,
        };
        let mut gone: Option<control::Error> = None;
        let scrubbed = self.node.store().scrub_volume(id, &mut |done, total| {
            let progress = Progress { done, total: Some(total), what: format!("scrubbing {name}") };
            peer.progress(&progress).map_err(|error| {
                gone = Some(error);
                siltstone::store::Error::Closed
            })
        });
        match (gone, scrubbed) {
            (Some(error), _) => Err(error.into()),
            (None, scrubbed) => Ok(describe_volume(name, scrubbed.map_err(|error| failure(error.into()))?)),
        }
    }
}

/// How often, as people write it.
fn every(text: &str) -> Result<Option<Duration>, Failure> {
    if text == "off" {
        return Ok(None);
    }
    let span: Span = text.parse().map_err(|error| Failure::from_chain(Kind::Invalid, &error))?;
    Ok(Some(Duration::from_secs(span.seconds())))
}

fn describe(damage: ScrubDamage, names: &HashMap<VolumeId, String>) -> DamageDescription {
    let range = |range: &TouchedRange| TouchedDescription {
        name: names.get(&range.volume).cloned().unwrap_or_else(|| format!("id {}", range.volume)),
        offset: range.first.byte_offset(),
        length: range.count * BLOCK_BYTES as u64,
    };
    DamageDescription {
        file: damage.file,
        offset: damage.offset,
        what: damage.what.into(),
        found: rfc3339(damage.found_ms),
        complete: damage.touched.as_ref().is_some_and(|touched| touched.complete),
        touched: damage.touched.map(|touched| touched.ranges.iter().map(range).collect()),
    }
}

fn describe_volume(name: &ExportName, scrubbed: VolumeScrub) -> ScrubbedVolume {
    let range = |range: siltstone::store::store::DamagedRange| DamagedRange {
        offset: range.first.byte_offset(),
        length: range.count * BLOCK_BYTES as u64,
        what: range.what.into(),
        file: range.file,
    };
    ScrubbedVolume {
        name: name.to_string(),
        blocks_good: scrubbed.blocks_good,
        blocks_damaged: scrubbed.blocks_damaged,
        damage: scrubbed.ranges.into_iter().map(range).collect(),
    }
}
