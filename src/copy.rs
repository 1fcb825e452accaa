//! Making a volume hold what a snapshot does, of whatever store, at the cost of what differs.

mod work;

use std::ops::Range;
use std::sync::mpsc::SyncSender;

use blockdev::lsm_store::fingerprint::Fingerprint;
use blockdev::lsm_store::id::BLOCK_BYTES;
use blockdev::lsm_store::store::STORED_BLOCKS_MAX;

use crate::error::Result;
use crate::fingerprints::{FingerprintExtent, Fingerprints};
use crate::progress::{self, Watch};
use crate::snapshot::Snapshot;
use crate::volume::{Shrink, Volume};
use work::Work;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Bytes compared between two words of progress, where all is the same.
const TOLD_BYTES: u64 = 16 << 20;

/// What [`Volume::copy_from`] did, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Copied {
    /// Ranges whose fingerprints were compared.
    pub compared_bytes: u64,
    /// What the volume lacked and its store had elsewhere: it was not read from the source.
    pub known_bytes: u64,
    /// What was read from the source.
    pub read_bytes: u64,
}

impl Copied {
    fn plus(self, other: Self) -> Self {
        Self {
            compared_bytes: self.compared_bytes + other.compared_bytes,
            known_bytes: self.known_bytes + other.known_bytes,
            read_bytes: self.read_bytes + other.read_bytes,
        }
    }
}

impl Volume {
    /// Makes this volume hold what `source` does, a snapshot of this store or of any other; its size becomes the same. This is how a
    /// backup or a mirror is brought up to date.
    ///
    /// Fingerprints of both sides are compared first, which reads no data. What differs is taken from what this volume's store has
    /// anywhere, if it is in this process and has it in segments, and else read from `source`. Zeros become holes. Four threads do
    /// that at several places at once; they end before this returns.
    ///
    /// With `since`, only what changed from that to `source` is compared. It is for the caller to know that this volume holds what
    /// `since` does: elsewhere it stays as it is.
    ///
    /// Nobody sees a half of it who reads snapshots: [`Volume::snapshot`] comes after it, and when it fails,
    /// [`Store::roll_back`](crate::Store::roll_back) to the last one undoes what was done; calling it again goes on instead.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-copy-{}", std::process::id()));
    /// # let options = siltstone::Options::new().memory_bytes(128 << 20);
    /// use siltstone::{VolumeOptions, unwatched};
    ///
    /// let (source, backup) = (options.create(dir.join("source"))?, options.create(dir.join("backup"))?);
    /// let disk = source.create_volume("disk", &VolumeOptions::new(1 << 30))?;
    /// disk.write_at(0, &[1; 8192])?;
    /// let monday = disk.snapshot("monday")?;
    /// disk.write_at(1 << 20, &[2; 4096])?;
    /// let tuesday = disk.snapshot("tuesday")?;
    ///
    /// let mut copy = backup.create_volume("disk", &VolumeOptions::new(1 << 30))?;
    /// let copied = copy.copy_from(&monday, None, &mut unwatched)?;
    /// assert_eq!((copied.compared_bytes, copied.read_bytes), (1 << 30, 8192));
    /// copy.snapshot("monday")?;
    /// let copied = copy.copy_from(&tuesday, Some(&monday), &mut unwatched)?;
    /// assert_eq!((copied.compared_bytes, copied.read_bytes), (4096, 4096));
    /// assert_eq!(copy.root(&mut unwatched)?, tuesday.root(&mut unwatched)?);
    /// # drop((disk, copy));
    /// # source.close()?;
    /// # backup.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if `since` shares no past with `source`. [`Busy`](crate::ErrorKind::Busy) if this volume is
    /// larger and somebody else has it open. Those of [`View::fingerprints`](crate::View::fingerprints) and
    /// [`View::read_at`](crate::View::read_at), of both sides, and of [`Volume::write_at`];
    /// [`Cancelled`](crate::ErrorKind::Cancelled). Some of the content has been copied then, and it holds neither the one nor the other.
    pub fn copy_from(&mut self, source: &Snapshot, since: Option<&Snapshot>, watch: Watch<'_>) -> Result<Copied> {
        let changes = since.map(|since| source.changes_since(since)).transpose()?;
        let size_bytes = source.size_bytes();
        if self.size_bytes() != size_bytes {
            self.resize(size_bytes, Shrink::Allowed)?;
        }
        progress::tell(watch, 0, Some(size_bytes))?;
        let copied = match changes {
            // What lies beyond a smaller size is cut off.
            Some(changes) => {
                let within = |range: Range<u64>| range.start..range.end.min(size_bytes);
                Work::new(source, self, changes.map(|range| range.map(within))).run(watch)?
            }
            None => Work::new(source, self, work::ranges_of(size_bytes)).run(watch)?,
        };
        progress::tell(watch, size_bytes, Some(size_bytes))?;
        Ok(copied)
    }
}

/// What one thread does of a copy.
struct Copy<'w, 'a> {
    work: &'w Work<'a>,
    teller: SyncSender<u64>,
    /// Where progress was told last.
    told_at: u64,
    lacking: Lacking,
    copied: Copied,
}

/// Adjacent blocks that the target does not hold yet.
#[derive(Default)]
struct Lacking {
    range: Range<u64>,
    fingerprints: Vec<Fingerprint>,
}

impl<'w, 'a> Copy<'w, 'a> {
    fn new(work: &'w Work<'a>, teller: SyncSender<u64>) -> Self {
        Self { work, teller, told_at: 0, lacking: Lacking::default(), copied: Copied::default() }
    }

    /// Takes ranges until there are none left.
    fn run(mut self) -> Copied {
        while let Some(range) = self.work.next() {
            if let Err(error) = range.and_then(|range| self.range(range)) {
                self.work.fail(error);
            }
        }
        self.copied
    }

    fn tell(&mut self, at: u64) -> Result<()> {
        self.told_at = at;
        self.work.tell(&self.teller, at)
    }

    fn range(&mut self, range: Range<u64>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.copied.compared_bytes += range.end - range.start;
        let mut there = There { extents: self.work.target.fingerprints(range.clone())?, here: None };
        for extent in self.work.source.fingerprints(range)? {
            let extent = extent?;
            if extent.range.start >= self.told_at + TOLD_BYTES {
                self.tell(extent.range.start)?;
            }
            if there.holds(&extent)? {
                continue;
            }
            match extent.fingerprint {
                Some(fingerprint) => self.lack(extent.range, fingerprint)?,
                None => self.work.target.trim(extent.range.start, extent.range.end - extent.range.start)?,
            }
        }
        self.bring()
    }

    /// Notes a block that the target does not hold.
    fn lack(&mut self, block: Range<u64>, fingerprint: Fingerprint) -> Result<()> {
        let is_next = self.lacking.range.end == block.start && self.lacking.fingerprints.len() < STORED_BLOCKS_MAX;
        if !is_next {
            self.bring()?;
            self.lacking.range.start = block.start;
        }
        self.lacking.range.end = block.end;
        self.lacking.fingerprints.push(fingerprint);
        Ok(())
    }

    /// Gives the target what was noted, from its own store or from the source.
    fn bring(&mut self) -> Result<()> {
        let Lacking { range, fingerprints } = std::mem::take(&mut self.lacking);
        if fingerprints.is_empty() {
            return Ok(());
        }
        let known = self.work.target.data()?.write_known(range.start / BLOCK, &fingerprints)?;
        let mut at = range.start;
        for alike in known.chunk_by(|a, b| a == b) {
            // The volume's end may cut the last block.
            let end = (at + alike.len() as u64 * BLOCK).min(range.end);
            if alike[0] {
                self.copied.known_bytes += end - at;
            } else {
                self.read(at..end)?;
            }
            at = end;
        }
        self.tell(at)
    }

    fn read(&mut self, range: Range<u64>) -> Result<()> {
        let mut piece = vec![0; (range.end - range.start) as usize];
        self.work.source.read_at(range.start, &mut piece)?;
        self.work.target.write_at(range.start, &piece)?;
        self.copied.read_bytes += piece.len() as u64;
        Ok(())
    }
}

/// What the target holds, passed in step with the source.
struct There {
    extents: Fingerprints,
    here: Option<FingerprintExtent>,
}

impl There {
    /// True if all of an extent is there already. Extents come in order.
    fn holds(&mut self, extent: &FingerprintExtent) -> Result<bool> {
        let mut at = extent.range.start;
        while at < extent.range.end {
            match &self.here {
                Some(here) if here.range.end <= at => self.here = None,
                Some(here) if here.fingerprint != extent.fingerprint => return Ok(false),
                Some(here) => at = here.range.end,
                None => match self.extents.next().transpose()? {
                    Some(next) => self.here = Some(next),
                    // Another handle has made the target smaller meanwhile: writing there will say so.
                    None => return Ok(false),
                },
            }
        }
        Ok(true)
    }
}
