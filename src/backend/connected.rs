//! A store that a daemon has: verbs by its control socket, data by NBD. See `docs/protocol.md`.

mod calls;
mod data;
mod describe;
mod objects;
mod prints;
mod streams;

use std::ops::Range;
use std::path::Path;

use blockdev::name::{ExportName, SnapshotName, VolumeName};
use blockdev::net::control::{Collect, CreateVolume, Progress, Request, ResizeVolume, Response, Scrub, ScrubAction};
use blockdev::node::{Shrink, SnapshotLoss};

use super::{Backend, Data, Differences};
use crate::error::{Cause, Caused};
use crate::progress::Watch;
use crate::scrub::{ScrubStatus, Verified};
use crate::snapshot::SnapshotInfo;
use crate::space::{Collected, Space, Usage};
use crate::volume::{VolumeInfo, VolumeOptions};
use calls::Calls;

/// A daemon.
pub(crate) struct Connected {
    calls: Calls,
}

/// Connects to the daemon that serves a directory.
pub(crate) fn connect(dir: &Path) -> Caused<Connected> {
    let dir =
        std::path::absolute(dir).map_err(|source| Cause::Directory { action: "finding", path: dir.into(), source })?;
    Ok(Connected { calls: Calls::connect(&dir)? })
}

impl Connected {
    fn ask(&self, request: &Request) -> Caused<Response> {
        self.calls.ask(request, &mut |_: &Progress| Ok(()))
    }

    fn ask_volume(&self, request: &Request) -> Caused<VolumeInfo> {
        match self.ask(request)? {
            Response::Volume(volume) => describe::volume(volume),
            _ => Err(Cause::Answer),
        }
    }

    fn ask_snapshot(&self, request: &Request) -> Caused<SnapshotInfo> {
        match self.ask(request)? {
            Response::Snapshot(snapshot) => describe::snapshot(snapshot),
            _ => Err(Cause::Answer),
        }
    }

    fn ask_snapshots(&self, request: &Request) -> Caused<Vec<SnapshotInfo>> {
        match self.ask(request)? {
            Response::Snapshots { snapshots, .. } => snapshots.into_iter().map(describe::snapshot).collect(),
            _ => Err(Cause::Answer),
        }
    }

    fn order(&self, request: &Request) -> Caused<()> {
        match self.ask(request)? {
            Response::Done => Ok(()),
            _ => Err(Cause::Answer),
        }
    }

    fn scrub(&self, action: ScrubAction) -> Caused<ScrubStatus> {
        match self.ask(&Request::Scrub(Scrub { action, ..Scrub::default() }))? {
            Response::Scrub(scrub) => Ok(describe::scrub(&scrub)),
            _ => Err(Cause::Answer),
        }
    }
}

impl Backend for Connected {
    fn is_read_only(&self) -> bool {
        false
    }

    fn close(&self) -> Caused<()> {
        self.calls.let_go();
        Ok(())
    }

    fn volumes(&self) -> Caused<Vec<VolumeInfo>> {
        match self.ask(&Request::List)? {
            Response::Volumes { volumes } => volumes.into_iter().map(describe::volume).collect(),
            _ => Err(Cause::Answer),
        }
    }

    fn volume(&self, name: &VolumeName) -> Caused<VolumeInfo> {
        self.ask_volume(&Request::Info { name: name.to_string() })
    }

    fn create_volume(&self, name: &VolumeName, options: &VolumeOptions) -> Caused<VolumeInfo> {
        self.ask_volume(&Request::Create(CreateVolume {
            name: name.to_string(),
            size_bytes: options.size_bytes,
            codec: options.codec.map(|codec| codec.to_string()),
            reuse: false,
            reserve_bytes: options.reserve_bytes,
            quota_bytes: options.quota_bytes,
            replicas: None,
        }))
    }

    fn resize_volume(&self, name: &VolumeName, size_bytes: u64, shrink: Shrink) -> Caused<VolumeInfo> {
        let allow_shrink = shrink == Shrink::Allowed;
        self.ask_volume(&Request::Resize(ResizeVolume { name: name.to_string(), size_bytes, allow_shrink }))
    }

    fn remove_volume(&self, name: &VolumeName, loss: SnapshotLoss) -> Caused<()> {
        self.order(&Request::Remove { name: name.to_string(), snapshots: loss == SnapshotLoss::Allowed })
    }

    fn clone_volume(&self, of: &ExportName, name: &VolumeName) -> Caused<VolumeInfo> {
        self.ask_volume(&Request::Clone { of: of.to_string(), name: name.to_string() })
    }

    fn snapshots(&self, of: Option<&VolumeName>) -> Caused<Vec<SnapshotInfo>> {
        let (mut listed, mut after) = (Vec::new(), String::new());
        loop {
            let request = Request::ListSnapshots { volume: of.map(ToString::to_string), after: Some(after.clone()) };
            let Response::Snapshots { snapshots, next } = self.ask(&request)? else { return Err(Cause::Answer) };
            listed.extend(snapshots.into_iter().map(describe::snapshot).collect::<Caused<Vec<_>>>()?);
            match next {
                Some(next) => after = behind(&after, next)?,
                None => return Ok(listed),
            }
        }
    }

    fn snapshot(&self, name: &SnapshotName) -> Caused<SnapshotInfo> {
        self.ask_snapshot(&Request::Info { name: name.to_string() })
    }

    fn create_snapshots(&self, names: &[SnapshotName]) -> Caused<Vec<SnapshotInfo>> {
        self.ask_snapshots(&Request::Snapshot { names: names.iter().map(ToString::to_string).collect() })
    }

    fn rename_snapshot(&self, name: &SnapshotName, to: &VolumeName) -> Caused<SnapshotInfo> {
        self.ask_snapshot(&Request::RenameSnapshot { name: name.to_string(), to: to.to_string() })
    }

    fn remove_snapshot(&self, name: &SnapshotName) -> Caused<()> {
        self.order(&Request::RemoveSnapshot { name: name.to_string() })
    }

    fn roll_back(&self, to: &SnapshotName) -> Caused<VolumeInfo> {
        self.ask_volume(&Request::RollBack { name: to.to_string() })
    }

    fn open(&self, name: &ExportName) -> Caused<Box<dyn Data>> {
        Ok(Box::new(data::open(&self.calls, name)?))
    }

    fn changes(&self, from: &ExportName, to: &ExportName) -> Caused<Box<dyn Differences>> {
        let mut pages =
            ChangePages { calls: self.calls.clone(), from: from.to_string(), to: to.to_string(), first: None };
        // Asked for now, so that two without a common past fail here.
        pages.first = Some((0, pages.ask(0)?));
        Ok(Box::new(pages))
    }

    fn space(&self) -> Caused<Space> {
        match self.ask(&Request::Status)? {
            Response::Status(status) => status.space.map(|space| describe::space(&space)).ok_or(Cause::Answer),
            _ => Err(Cause::Answer),
        }
    }

    fn usage(&self, watch: Watch<'_>) -> Caused<Usage> {
        let (mut volumes, mut after) = (Vec::new(), String::new());
        loop {
            let request = Request::Usage { names: Vec::new(), after: Some(after.clone()) };
            let Response::Usage(mut page) = self.calls.watched(&request, watch)? else { return Err(Cause::Answer) };
            volumes.append(&mut page.volumes);
            match page.next.take() {
                Some(next) => after = behind(&after, next)?,
                None => return Ok(describe::usage(blockdev::net::control::Usage { volumes, ..page })),
            }
        }
    }

    fn collect(&self, now: bool) -> Caused<Collected> {
        match self.ask(&Request::Collect(Collect { now, dry_run: false }))? {
            Response::Collected(collected) => Ok(describe::collected(&collected)),
            _ => Err(Cause::Answer),
        }
    }

    fn start_scrub(&self) -> Caused<()> {
        self.scrub(ScrubAction::Start)?;
        Ok(())
    }

    fn scrub_status(&self) -> Caused<ScrubStatus> {
        self.scrub(ScrubAction::Status)
    }

    fn verify(&self, name: &ExportName, watch: Watch<'_>) -> Caused<Verified> {
        let request = Request::ScrubVolume { name: name.to_string(), snapshots: false };
        match self.calls.watched(&request, watch)? {
            Response::ScrubbedVolumes { volumes } => {
                volumes.into_iter().next().map(describe::verified).ok_or(Cause::Answer)
            }
            _ => Err(Cause::Answer),
        }
    }
}

/// Where the next page begins, which must be further on.
fn behind(before: &str, next: String) -> Caused<String> {
    if *next > *before { Ok(next) } else { Err(Cause::Answer) }
}

/// What the daemon says of changes, by pages.
struct ChangePages {
    calls: Calls,
    from: String,
    to: String,
    /// A page that has come already, by its offset.
    first: Option<(u64, ChangePage)>,
}

type ChangePage = (Vec<Range<u64>>, Option<u64>);

impl ChangePages {
    fn ask(&self, offset: u64) -> Caused<ChangePage> {
        let request = Request::Changes { from: self.from.clone(), to: self.to.clone(), offset };
        match self.calls.ask(&request, &mut |_: &Progress| Ok(()))? {
            Response::Changes(page) => describe::changes(&page),
            _ => Err(Cause::Answer),
        }
    }
}

impl Differences for ChangePages {
    fn page(&mut self, from: u64, to: u64) -> Caused<(Vec<Range<u64>>, u64)> {
        let (ranges, next) = match self.first.take().filter(|(offset, _)| *offset == from) {
            Some((_, page)) => page,
            None => self.ask(from)?,
        };
        // A volume that others have resized meanwhile may say more than was asked, or less.
        let next = next.unwrap_or(to).min(to);
        let is_sound = next > from && ranges.iter().all(|range| range.start >= from && range.start <= range.end);
        if !is_sound {
            return Err(Cause::Answer);
        }
        let cut = ranges.into_iter().map(|range| range.start.min(next)..range.end.min(next));
        Ok((cut.filter(|range| !range.is_empty()).collect(), next))
    }
}
