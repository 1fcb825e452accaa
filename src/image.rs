//! Volumes and snapshots as files.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::allocation::Content;
use crate::backend::PIECE_BYTES;
use crate::error::{Cause, Result};
use crate::progress::{self, Watch};
use crate::view::View;

impl View {
    /// Makes a file a raw image of it: what the file held goes, its length becomes the size, and what holds no data becomes holes.
    /// Returns how many bytes of data were written; [`File::sync_all`] makes them survive a power cut.
    ///
    /// Of a volume that is written meanwhile each piece is as of another moment: a snapshot never changes.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-image-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(dir.join("store"))?;
    /// use siltstone::{VolumeOptions, unwatched};
    ///
    /// let disk = store.create_volume("disk", &VolumeOptions::new(1 << 30))?;
    /// disk.write_at(1 << 20, &[1; 4096])?;
    /// let image = std::fs::File::create_new(dir.join("disk.img")).unwrap();
    /// let data_bytes = disk.snapshot("monday")?.copy_to_file(&image, &mut unwatched)?;
    /// assert_eq!((data_bytes, image.metadata().unwrap().len()), (4096, 1 << 30));
    /// # drop(disk);
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`View::read_at`] and [`View::allocation`]; [`Io`](crate::ErrorKind::Io) if the file cannot be written, with that
    /// error as the source; [`Cancelled`](crate::ErrorKind::Cancelled). The file then holds a part.
    pub fn copy_to_file(&self, file: &File, watch: Watch<'_>) -> Result<u64> {
        let size_bytes = self.size_bytes();
        file.set_len(0).and_then(|()| file.set_len(size_bytes)).map_err(Cause::Output)?;
        progress::tell(watch, 0, Some(size_bytes))?;
        let mut data_bytes = 0;
        let mut piece = vec![0; PIECE_BYTES];
        for extent in self.allocation(..)? {
            let extent = extent?;
            let mut at = extent.range.start;
            while extent.content == Content::Data && at < extent.range.end {
                let piece = &mut piece[..(extent.range.end - at).min(PIECE_BYTES as u64) as usize];
                self.read_at(at, piece)?;
                file.write_all_at(piece, at).map_err(Cause::Output)?;
                at += piece.len() as u64;
                data_bytes += piece.len() as u64;
                progress::tell(watch, at, Some(size_bytes))?;
            }
        }
        progress::tell(watch, size_bytes, Some(size_bytes))?;
        Ok(data_bytes)
    }
}
