//! A small backup tool: volumes of one store, in use or not, and directories, into another store.
//!
//! ```text
//! minibak init /backup
//! minibak backup /backup --from /var/lib/silt db
//! minibak restore /backup db@minibak-1764150000000 db.raw
//! minibak backup-directory /backup /etc etc
//! ```
//!
//! The repository is a store whose volumes have the names of those they are backups of, and a snapshot for each backup, so
//! it deduplicates over all of them, and any backup can be served or cloned by `silt`. Backups of directories are its objects.

mod backup;
mod directory;
mod restore;
#[cfg(test)]
mod tests;

use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use siltstone::{Options, Progress, Store};

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
    /// Backs up a directory; what has not changed since the last time is stored once.
    BackupDirectory { repository: PathBuf, directory: PathBuf, name: String },
    /// Shows the backups.
    List { repository: PathBuf },
    /// Reads all backups, or one, and compares every block with its fingerprint.
    Verify { repository: PathBuf, backup: Option<String> },
    /// Writes a backup to a raw image or into a directory, which must not exist.
    Restore { repository: PathBuf, backup: String, to: PathBuf },
    /// Removes all backups of a volume or directory but the newest.
    Forget {
        repository: PathBuf,
        name: String,
        /// How many stay.
        #[arg(long)]
        keep: NonZero<usize>,
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
            let (source, repository) = (options().connect_or_open(&from)?, open(repository)?);
            let (name, copied) = backup::backup(&source, &repository, &volume)?;
            source.close()?;
            repository.close()?;
            say(&format!("{name}: {} read of {} compared", bytes(copied.read_bytes), bytes(copied.compared_bytes)));
        }
        Command::BackupDirectory { repository, directory, name } => {
            let repository = open(repository)?;
            let made = directory::backup(&repository, &directory, &name)?;
            repository.close()?;
            say(&format!("{}: {}", made.name, bytes(made.size_bytes)));
        }
        Command::List { repository } => {
            for (name, size_bytes) in backups(&open(repository)?)? {
                say(&format!("{name}\t{}", bytes(size_bytes)));
            }
        }
        Command::Verify { repository, backup } => restore::verify(&open(repository)?, backup.as_deref())?,
        Command::Restore { repository, backup, to } => restore::restore(&open(repository)?, &backup, &to)?,
        Command::Forget { repository, name, keep } => forget(&open(repository)?, &name, keep.get())?,
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
    // A repository is read from one end to the other.
    Options::new().memory_bytes(256 << 20).large_frames(true)
}

fn open(repository: PathBuf) -> anyhow::Result<Store> {
    options().open(&repository).with_context(|| format!("the repository {}", repository.display()))
}

/// All backups, by name and size.
fn backups(repository: &Store) -> siltstone::Result<Vec<(String, u64)>> {
    let volumes = repository.all_snapshots()?.into_iter().map(|backup| Ok((backup.name, backup.size_bytes)));
    let directories = repository.objects("").map(|backup| backup.map(|backup| (backup.name, backup.size_bytes)));
    volumes.chain(directories).collect()
}

fn forget(repository: &Store, name: &str, keep: usize) -> anyhow::Result<()> {
    let directories = directory::backups(repository, name)?;
    for backup in directories.iter().rev().skip(keep) {
        repository.remove_object(&backup.name)?;
        say(&format!("{} forgotten", backup.name));
    }
    let volumes = if directories.is_empty() { repository.snapshots(name)? } else { Vec::new() };
    for backup in volumes.iter().rev().skip(keep) {
        repository.remove_snapshot(&backup.name)?;
        say(&format!("{} forgotten", backup.name));
    }
    repository.close()?;
    Ok(())
}

/// A bar in bytes.
fn bar(total_bytes: u64, what: &str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {eta}")?;
    Ok(ProgressBar::new(total_bytes).with_style(style).with_message(what.to_owned()))
}

/// Shows on a bar how far something has come.
fn show(bar: &ProgressBar) -> impl FnMut(Progress) -> ControlFlow<()> {
    |progress| {
        bar.set_position(progress.done_bytes);
        ControlFlow::Continue(())
    }
}

fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn say(line: &str) {
    println!("{line}");
}
