//! Directories: each backup is an archive by `tar` in an object of its own, `NAME/NUMBER`. The repository cuts it by content, so
//! what has not changed since the last one is stored once, whatever `tar` put before it.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use siltstone::{ObjectInfo, ObjectOptions, Store, unwatched};

use crate::{bar, show};

/// An archive as it comes. It ends well only if `tar` did, so that half a one is no backup.
struct Archive(Child);

impl Read for Archive {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.stdout.as_mut().map_or(Ok(0), |archive| archive.read(buf))?;
        // By 1 it says that a file changed while it was read.
        if read == 0 && !matches!(self.0.wait()?.code(), Some(0 | 1)) {
            return Err(io::Error::other("tar failed"));
        }
        Ok(read)
    }
}

/// The backups of a directory, from the oldest.
pub(crate) fn backups(repository: &Store, name: &str) -> siltstone::Result<Vec<ObjectInfo>> {
    repository.objects(&format!("{name}/")).collect()
}

/// Backs up a directory and returns what was made.
pub(crate) fn backup(repository: &Store, directory: &Path, name: &str) -> anyhow::Result<ObjectInfo> {
    if name.contains('/') {
        bail!("{name} must not contain '/', which begins the number of a backup");
    }
    let last = backups(repository, name)?.pop();
    let number = last.as_ref().and_then(|last| last.name.rsplit('/').next()?.parse().ok()).unwrap_or(0_u64) + 1;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory).args(["-c", "."]).stdout(Stdio::piped());
    let archive = Archive(tar.spawn().context("starting tar")?);
    let bar = bar(last.map_or(0, |last| last.size_bytes), name)?;
    let options = ObjectOptions::new().metadata("directory", directory.display().to_string());
    let made = repository.put_object(&format!("{name}/{number:010}"), &options, archive, &mut show(&bar))?;
    bar.finish_and_clear();
    Ok(made)
}

/// Unpacks a backup into a new directory.
pub(crate) fn restore(repository: &Store, backup: &str, directory: &Path) -> anyhow::Result<()> {
    let mut reader = repository.get_object(backup, ..)?;
    std::fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory).args(["-x", "-p"]).stdin(Stdio::piped());
    let mut tar = tar.spawn().context("starting tar")?;
    let bar = bar(reader.info().size_bytes, backup)?;
    let archive = tar.stdin.take().context("tar has no stdin")?;
    let copied = reader.copy_to(archive, &mut show(&bar));
    bar.finish_and_clear();
    let unpacked = tar.wait()?;
    copied?;
    if !unpacked.success() {
        bail!("tar failed");
    }
    Ok(())
}

/// Reads all of a backup, which fails if anything is damaged.
pub(crate) fn verify(repository: &Store, backup: &str) -> siltstone::Result<u64> {
    repository.get_object(backup, ..)?.copy_to(io::sink(), &mut unwatched)
}
