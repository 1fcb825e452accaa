//! Backups read back: into images, and for verification.

use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};
use siltstone::{Content, Store};

use crate::{bar, bytes, directory, say};

/// Bytes moved at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Writes a backup to a new, sparse image, or into a new directory.
pub(crate) fn restore(repository: &Store, backup: &str, to: &Path) -> anyhow::Result<()> {
    if is_directory(backup) {
        directory::restore(repository, backup, to)
    } else {
        restore_volume(repository, backup, to)
    }
}

fn is_directory(backup: &str) -> bool {
    backup.contains('/')
}

fn restore_volume(repository: &Store, backup: &str, image: &Path) -> anyhow::Result<()> {
    let snapshot = repository.snapshot(backup)?;
    let file = OpenOptions::new().write(true).create_new(true).open(image);
    let file = file.with_context(|| format!("making {}", image.display()))?;
    file.set_len(snapshot.size_bytes())?;
    let bar = bar(snapshot.size_bytes(), backup)?;
    let mut piece = vec![0; PIECE_BYTES as usize];
    for extent in snapshot.allocation(..)? {
        let extent = extent?;
        let mut at = extent.range.start;
        while extent.content == Content::Data && at < extent.range.end {
            let piece = &mut piece[..PIECE_BYTES.min(extent.range.end - at) as usize];
            snapshot.read_at(at, piece)?;
            file.write_all_at(piece, at)?;
            at += piece.len() as u64;
            bar.set_position(at);
        }
    }
    file.sync_all()?;
    bar.finish_and_clear();
    Ok(())
}

/// Reads backups and fails if anything is damaged.
pub(crate) fn verify(repository: &Store, backup: Option<&str>) -> anyhow::Result<()> {
    let names: Vec<String> = match backup {
        Some(name) => vec![name.to_owned()],
        None => {
            let directories =
                repository.objects("").map(|object| Ok(object?.name)).collect::<siltstone::Result<Vec<_>>>()?;
            repository.all_snapshots()?.into_iter().map(|snapshot| snapshot.name).chain(directories).collect()
        }
    };
    let mut damaged_bytes = 0;
    for name in names {
        if is_directory(&name) {
            say(&format!("{name}: {} good", bytes(directory::verify(repository, &name)?)));
            continue;
        }
        let snapshot = repository.snapshot(&name)?;
        let bar = bar(snapshot.size_bytes(), &name)?;
        let verified = snapshot.verify(&mut |progress| {
            bar.set_position(progress.done_bytes);
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        for damage in &verified.damage {
            say(&format!("{name}: bytes {:?} are damaged: {}", damage.range, damage.what));
        }
        say(&format!("{name}: {} good", bytes(verified.good_bytes)));
        damaged_bytes += verified.damaged_bytes;
    }
    if damaged_bytes > 0 {
        bail!("{} are damaged", bytes(damaged_bytes));
    }
    Ok(())
}
