//! A raw image being written: a new sparse file that gets its name when it is complete, a block device, or a stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// An image being written in order of offsets. Dropped before [`ImageSink::finish`], it leaves no file.
pub(crate) struct ImageSink {
    output: Output,
    /// Where the last piece ended.
    position: u64,
}

enum Output {
    /// Gaps are holes.
    File { file: File, partial: PathBuf, path: PathBuf, existing: Existing },
    /// Gaps must be written: the device may hold anything.
    Device(File),
    /// Gaps must be written: there is no other way.
    Stream(File),
}

/// What happens to a file that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existing {
    /// It stays; opening the sink fails.
    Keep,
    /// It is replaced when the image is complete.
    Replace,
}

impl ImageSink {
    /// Opens a new file, an existing device or pipe, or (`-`) stdout.
    pub(crate) fn open(path: &Path, existing: Existing) -> io::Result<Self> {
        let output = if path == Path::new("-") {
            Output::Stream(rustix::io::dup(io::stdout())?.into())
        } else {
            let is_dangling = || existing == Existing::Keep && fs::symlink_metadata(path).is_ok();
            match fs::metadata(path).map(|metadata| metadata.file_type()) {
                Ok(kind) if kind.is_block_device() => Output::Device(OpenOptions::new().write(true).open(path)?),
                Ok(kind) if kind.is_char_device() || kind.is_fifo() => {
                    Output::Stream(OpenOptions::new().write(true).open(path)?)
                }
                Ok(kind) if kind.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
                Ok(_) if existing == Existing::Keep => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) if is_dangling() => return Err(io::ErrorKind::AlreadyExists.into()),
                _ => Self::new_file(path, existing)?,
            }
        };
        Ok(Self { output, position: 0 })
    }

    fn new_file(path: &Path, existing: Existing) -> io::Result<Output> {
        let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
        Ok(Output::File { file, partial, path: path.into(), existing })
    }

    /// Writes a piece at or behind the end of the last one; what lies between is zeros.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset < self.position {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.fill_to(offset)?;
        match &mut self.output {
            Output::File { file, .. } | Output::Device(file) => file.write_all_at(data, offset)?,
            Output::Stream(stream) => stream.write_all(data)?,
        }
        self.position = offset + data.len() as u64;
        Ok(())
    }

    /// Writes zeros, where they must be written, up to `offset`.
    fn fill_to(&mut self, offset: u64) -> io::Result<()> {
        if matches!(self.output, Output::File { .. }) {
            return Ok(());
        }
        while self.position < offset {
            let len = (offset - self.position).min(ZEROS.len() as u64) as usize;
            match &mut self.output {
                Output::File { .. } => {}
                Output::Device(file) => file.write_all_at(&ZEROS[..len], self.position)?,
                Output::Stream(stream) => stream.write_all(&ZEROS[..len])?,
            }
            self.position += len as u64;
        }
        Ok(())
    }

    /// Fills the image to its size, makes it durable and gives it its name. A file that has come there meanwhile stays, and this
    /// fails, unless files are to be replaced.
    pub(crate) fn finish(mut self, size_bytes: u64) -> io::Result<()> {
        self.fill_to(size_bytes)?;
        match &mut self.output {
            Output::File { file, partial, path, existing } => {
                file.set_len(size_bytes)?;
                file.sync_all()?;
                match existing {
                    Existing::Keep => rename_to_new(partial, path)?,
                    Existing::Replace => fs::rename(&*partial, &*path)?,
                }
                sync_directory_of(path)
            }
            Output::Device(file) => file.sync_all(),
            Output::Stream(stream) => stream.flush(),
        }
    }
}

/// Renames unless there is a file of that name.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do both at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if fs::symlink_metadata(to).is_err() => {
            fs::rename(from, to)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

/// Makes the name of a file durable, where directories can be read and synced: the file is there in any case.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all()) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {
            tracing::debug!(%error, "the name of the file is not synced");
            Ok(())
        }
        synced => synced,
    }
}

impl Drop for ImageSink {
    fn drop(&mut self) {
        if let Output::File { partial, .. } = &self.output {
            // After `finish` there is nothing by this name; otherwise a leftover is the lesser evil.
            let _ = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests;
