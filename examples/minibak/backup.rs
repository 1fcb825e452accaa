//! One backup: a snapshot of the source, and in the repository what is different from the backup before.
//!
//! Where the source still has the snapshot of the last backup, only ranges that changed since are looked at, else all. Of these the
//! fingerprints of source and repository are compared, which reads no data; content is read only where they differ. A block
//! that the repository has elsewhere is read and written all the same, and stored once.

use std::ops::Range;

use siltstone::{FingerprintExtent, Result, Shrink, Snapshot, Store, View, Volume, VolumeOptions};

use crate::{bar, find};

/// What snapshots of the source are called, before the number of the backup.
const PREFIX: &str = "minibak-";

/// Bytes moved at once.
const PIECE_BYTES: u64 = 1 << 20;

/// What a backup did, in bytes.
#[derive(Default)]
pub(crate) struct Report {
    /// Ranges that were looked at.
    pub(crate) changed: u64,
    /// Content that was read from the source.
    pub(crate) read: u64,
}

/// Backs up a volume and returns the backup's name.
pub(crate) fn backup(source: &Store, repository: &Store, volume: &str) -> anyhow::Result<(String, Report)> {
    let last = last_backup(source, repository, volume)?;
    let number = last.number + 1;
    let snapshot = fresh_snapshot(source, &format!("{volume}@{PREFIX}{number}"))?;
    let mut target = target(repository, volume, &snapshot)?;
    let report = copy(&snapshot, last.common.as_ref(), &target)?;
    if target.size_bytes() > snapshot.size_bytes() {
        target.resize(snapshot.size_bytes(), Shrink::Allowed)?;
    }
    target.flush()?;
    let name = format!("{number}-{}", created_ms(source, &snapshot)?);
    let made = target.snapshot(&name)?.name().to_owned();
    drop(last);
    forget_snapshots(source, volume, snapshot.name())?;
    Ok((made, report))
}

/// Where the repository stands.
#[derive(Default)]
struct Last {
    number: u64,
    /// What the source held at the last backup, if it is still there.
    common: Option<Snapshot>,
}

/// Puts the repository back to its last backup, in case one was broken off, and finds that in the source.
fn last_backup(source: &Store, repository: &Store, volume: &str) -> anyhow::Result<Last> {
    if find(repository, volume)?.is_none() {
        return Ok(Last::default());
    }
    let Some(last) = repository.snapshots(volume)?.pop() else {
        // Not even the first one came to its end.
        repository.remove_volume(volume)?;
        return Ok(Last::default());
    };
    repository.roll_back(&last.name)?;
    let (_, number) = last.name.split_once('@').unwrap_or_default();
    let number = number.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    // The time is in the name so that the snapshot of another volume that had the name is not taken for it.
    let is_it = |created_ms| last.name == format!("{volume}@{number}-{created_ms}");
    let of_last = format!("{volume}@{PREFIX}{number}");
    let found = source.snapshots(volume)?.into_iter().find(|one| one.name == of_last && is_it(one.created_ms));
    let common = found.map(|_| source.snapshot(&of_last)).transpose()?;
    Ok(Last { number, common })
}

/// A snapshot of now; one of that name is from a backup that was broken off.
fn fresh_snapshot(source: &Store, name: &str) -> Result<Snapshot> {
    match source.create_snapshot(name) {
        Err(error) if error.kind() == siltstone::ErrorKind::Exists => {
            source.remove_snapshot(name)?;
            source.create_snapshot(name)
        }
        made => made,
    }
}

/// The newest is what the next backup starts from.
fn forget_snapshots(source: &Store, volume: &str, newest: &str) -> Result<()> {
    let ours = format!("{volume}@{PREFIX}");
    let old = source.snapshots(volume)?.into_iter().filter(|one| one.name.starts_with(&ours) && one.name != newest);
    old.into_iter().try_for_each(|one| source.remove_snapshot(&one.name))
}

fn created_ms(source: &Store, snapshot: &Snapshot) -> anyhow::Result<u64> {
    let (volume, _) = snapshot.name().split_once('@').unwrap_or_default();
    let info = source.snapshots(volume)?.into_iter().find(|one| one.id == snapshot.id());
    Ok(info.ok_or_else(|| anyhow::anyhow!("{} is gone", snapshot.name()))?.created_ms)
}

/// The volume in the repository, at least as large as the snapshot.
fn target(repository: &Store, volume: &str, snapshot: &Snapshot) -> Result<Volume> {
    if find(repository, volume)?.is_none() {
        return repository.create_volume(volume, &VolumeOptions::new(snapshot.size_bytes()));
    }
    let mut target = repository.volume(volume)?;
    if target.size_bytes() < snapshot.size_bytes() {
        target.resize(snapshot.size_bytes(), Shrink::Refused)?;
    }
    Ok(target)
}

/// Makes `target` hold what `snapshot` does.
fn copy(snapshot: &Snapshot, common: Option<&Snapshot>, target: &Volume) -> anyhow::Result<Report> {
    let size = snapshot.size_bytes();
    let bar = bar(size, snapshot.name())?;
    let mut report = Report::default();
    let mut look_at = |range: Range<u64>| -> Result<()> {
        // What lies beyond a smaller size is cut off later.
        let range = range.start.min(size)..range.end.min(size);
        report.changed += range.end - range.start;
        report.read += copy_range(snapshot, target, range.clone(), &|at| bar.set_position(at))?;
        Ok(())
    };
    match common {
        Some(common) => snapshot.changes_since(common)?.try_for_each(|range| look_at(range?))?,
        None => look_at(0..size)?,
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Copies what differs of a range, and returns how much was read.
fn copy_range(source: &View, target: &Volume, range: Range<u64>, progress: &dyn Fn(u64)) -> Result<u64> {
    let mut pending = 0..0;
    let mut read = 0;
    let mut theirs = Prints { extents: target.fingerprints(range.clone())?, here: None };
    for extent in source.fingerprints(range)? {
        let extent = extent?;
        progress(extent.range.start);
        if theirs.hold(&extent)? {
            continue;
        }
        if extent.fingerprint.is_none() {
            target.trim(extent.range.start, extent.range.end - extent.range.start)?;
            continue;
        }
        let goes_on = pending.end == extent.range.start && pending.end - pending.start < PIECE_BYTES;
        if !goes_on {
            read += copy_bytes(source, target, pending)?;
            pending = extent.range.start..extent.range.start;
        }
        pending.end = extent.range.end;
    }
    Ok(read + copy_bytes(source, target, pending)?)
}

fn copy_bytes(source: &View, target: &Volume, range: Range<u64>) -> Result<u64> {
    let len = range.end - range.start;
    let mut piece = vec![0; len as usize];
    source.read_at(range.start, &mut piece)?;
    target.write_at(range.start, &piece)?;
    Ok(len)
}

/// What the repository has, passed in step with the source.
struct Prints {
    extents: siltstone::Fingerprints,
    here: Option<FingerprintExtent>,
}

impl Prints {
    /// True if all of an extent is there already. Extents come in order.
    fn hold(&mut self, extent: &FingerprintExtent) -> Result<bool> {
        let mut at = extent.range.start;
        while at < extent.range.end {
            match &self.here {
                Some(here) if here.range.end <= at => self.here = None,
                Some(here) if here.fingerprint != extent.fingerprint => return Ok(false),
                Some(here) => at = here.range.end,
                None => {
                    self.here = self.extents.next().transpose()?;
                    assert!(self.here.is_some(), "both cover the same range");
                }
            }
        }
        Ok(true)
    }
}
