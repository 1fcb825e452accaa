//! A small backup tool: volumes of one store, in use or not, into another.
//!
//! ```text
//! minibak init /backup
//! minibak backup /backup --from /var/lib/silt db
//! minibak restore /backup db@1-1764150000000 db.raw
//! ```
//!
//! The repository is a store whose volumes have the names of those they are backups of, and a snapshot for each backup, so
//! it deduplicates over all of them, and any backup can be served or cloned by `silt`.

mod backup;
mod restore;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use siltstone::{ErrorKind, Options, Store, VolumeInfo};

/// Backs up volumes of a Siltstone store.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes an empty repository.
    Init { repository: PathBuf },
    /// Backs up a volume, or what has changed of it since the last time.
    Backup {
        repository: PathBuf,
        /// The data directory that has the volume; a daemon may be running there.
        #[arg(long)]
        from: PathBuf,
        volume: String,
    },
    /// Shows the backups.
    List { repository: PathBuf },
    /// Reads all backups, or one, and compares every block with its fingerprint.
    Verify { repository: PathBuf, backup: Option<String> },
    /// Writes a backup to a raw image, which must not exist.
    Restore { repository: PathBuf, backup: String, image: PathBuf },
    /// Removes all backups of a volume but the newest.
    Forget {
        repository: PathBuf,
        volume: String,
        /// How many stay.
        #[arg(long)]
        keep: usize,
    },
    /// Gives back the room of what was forgotten.
    Prune { repository: PathBuf },
}

fn main() -> anyhow::Result<()> {
    run(Arguments::parse())
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Init { repository } => options().create(&repository)?.close()?,
        Command::Backup { repository, from, volume } => {
            let (source, repository) = (open_source(&from)?, open(repository)?);
            let (name, report) = backup::backup(&source, &repository, &volume)?;
            source.close()?;
            repository.close()?;
            say(&format!("{name}: {} read of {} changed", bytes(report.read), bytes(report.changed)));
        }
        Command::List { repository } => list(&open(repository)?)?,
        Command::Verify { repository, backup } => restore::verify(&open(repository)?, backup.as_deref())?,
        Command::Restore { repository, backup, image } => restore::restore(&open(repository)?, &backup, &image)?,
        Command::Forget { repository, volume, keep } => forget(&open(repository)?, &volume, keep)?,
        Command::Prune { repository } => {
            let store = open(repository)?;
            let collected = store.collect(true)?;
            store.close()?;
            say(&format!("{} given back", bytes(collected.reclaimed_bytes.saturating_sub(collected.moved_bytes))));
        }
    }
    Ok(())
}

fn options() -> Options {
    Options::new().memory_bytes(256 << 20)
}

fn open(repository: PathBuf) -> anyhow::Result<Store> {
    options().open(&repository).with_context(|| format!("the repository {}", repository.display()))
}

/// The store that is backed up: through its daemon if one runs.
fn open_source(data: &Path) -> anyhow::Result<Store> {
    match Store::connect(data) {
        Err(error) if error.kind() == ErrorKind::Unavailable => Ok(options().open(data)?),
        connected => Ok(connected?),
    }
}

fn list(repository: &Store) -> anyhow::Result<()> {
    for backup in repository.all_snapshots()? {
        say(&format!("{}\t{}", backup.name, bytes(backup.size_bytes)));
    }
    Ok(())
}

fn forget(repository: &Store, volume: &str, keep: usize) -> anyhow::Result<()> {
    if keep == 0 {
        bail!("at least one backup stays: --keep 1");
    }
    let backups = repository.snapshots(volume)?;
    for backup in backups.iter().rev().skip(keep) {
        repository.remove_snapshot(&backup.name)?;
        say(&format!("{} forgotten", backup.name));
    }
    repository.close()?;
    Ok(())
}

/// A volume of a store, if it has one of this name.
fn find(store: &Store, name: &str) -> siltstone::Result<Option<VolumeInfo>> {
    match store.volume_info(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// A bar in bytes.
fn bar(total_bytes: u64, what: &str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {eta}")?;
    Ok(ProgressBar::new(total_bytes).with_style(style).with_message(what.to_owned()))
}

fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn say(line: &str) {
    println!("{line}");
}
