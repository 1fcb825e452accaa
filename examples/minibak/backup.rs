//! One backup of a volume: a snapshot of the source, and in the repository what differs from the backup before.
//!
//! On both sides its name is the time. Where the source still has the snapshot of the last backup only what changed since is
//! compared, else all; content is read only where fingerprints differ and the repository has it nowhere.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use siltstone::{Codec, Copied, ErrorKind, Result, Snapshot, Store, VolumeOptions, ZstdLevel};

use crate::{bar, show};

/// What the snapshots are called, before the time.
const PREFIX: &str = "minibak-";

/// Backs up a volume; returns the backup's name and what that took.
pub(crate) fn backup(source: &Store, repository: &Store, volume: &str) -> anyhow::Result<(String, Copied)> {
    let name = format!("{PREFIX}{}", now_ms()?);
    let snapshot = source.create_snapshot(&format!("{volume}@{name}"))?;
    let last = last_backup(source, repository, volume)?;
    // Backups are read seldom and kept long.
    let options = VolumeOptions::new(snapshot.size_bytes()).codec(Codec::Zstd { level: ZstdLevel::default() });
    let mut target = repository.open_or_create_volume(volume, &options)?;
    let bar = bar(snapshot.size_bytes(), volume)?;
    let copied = target.copy_from(&snapshot, last.as_ref(), &mut show(&bar))?;
    bar.finish_and_clear();
    let made = target.snapshot(&name)?;
    drop(last);
    forget_others(source, &snapshot)?;
    Ok((made.name().to_owned(), copied))
}

/// What the source held at the last backup, if it still knows. The repository is put back there: a backup after it may have been
/// broken off.
fn last_backup(source: &Store, repository: &Store, volume: &str) -> Result<Option<Snapshot>> {
    let backups = match repository.snapshots(volume) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        backups => backups?,
    };
    // A volume of the repository may have snapshots that somebody else made.
    let ours = format!("{volume}@{PREFIX}");
    let Some(last) = backups.iter().rfind(|one| one.name.starts_with(&ours)) else { return Ok(None) };
    match source.snapshot(&last.name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => {
            let found = found?;
            repository.roll_back(&last.name)?;
            Ok(Some(found))
        }
    }
}

/// The next backup starts from the newest snapshot; those before it, and of backups that were broken off, go.
fn forget_others(source: &Store, newest: &Snapshot) -> Result<()> {
    let volume = newest.name().split('@').next().unwrap_or_default();
    let ours = format!("{volume}@{PREFIX}");
    let snapshots = source.snapshots(volume)?.into_iter();
    let mut others = snapshots.filter(|one| one.name.starts_with(&ours) && one.name != newest.name());
    others.try_for_each(|one| source.remove_snapshot(&one.name))
}

#[expect(clippy::disallowed_methods, reason = "a command has no clock but the machine's")]
fn now_ms() -> anyhow::Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis())
}
