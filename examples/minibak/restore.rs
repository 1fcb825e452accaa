//! Backups read back: into images, and for verification.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use siltstone::Store;

use crate::{bar, bytes, directory, say, show};

/// Writes a backup to a new, sparse image, or into a new directory.
pub(crate) fn restore(repository: &Store, backup: &str, to: &Path) -> anyhow::Result<()> {
    if is_directory(backup) {
        return directory::restore(repository, backup, to);
    }
    let snapshot = repository.snapshot(backup)?;
    let image = File::create_new(to).with_context(|| format!("making {}", to.display()))?;
    let bar = bar(snapshot.size_bytes(), backup)?;
    snapshot.copy_to_file(&image, &mut show(&bar))?;
    bar.finish_and_clear();
    Ok(image.sync_all()?)
}

fn is_directory(backup: &str) -> bool {
    backup.contains('/')
}

/// Reads a backup, or all of them, and fails if anything is damaged.
pub(crate) fn verify(repository: &Store, backup: Option<&str>) -> anyhow::Result<()> {
    let names = match backup {
        Some(name) => vec![name.to_owned()],
        None => crate::backups(repository)?.into_iter().map(|(name, _)| name).collect(),
    };
    let mut damaged_bytes = 0;
    for name in names {
        if is_directory(&name) {
            say(&format!("{name}: {} good", bytes(directory::verify(repository, &name)?)));
            continue;
        }
        let snapshot = repository.snapshot(&name)?;
        let bar = bar(snapshot.size_bytes(), &name)?;
        let verified = snapshot.verify(&mut show(&bar))?;
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
