//! Making a volume hold what a snapshot does, of whatever store, at the cost of what differs.

mod work;

use std::ops::Range;
use std::sync::mpsc::SyncSender;

use blockdev::export::Write;
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
                let is_there = |range: &Result<Range<u64>>| range.as_ref().map_or(true, |range| !range.is_empty());
                Work::new(source, self, changes.map(|range| range.map(within)).filter(is_there)).run(watch)?
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

/// Blocks that the target does not hold yet.
#[derive(Default)]
struct Lacking {
    /// By place, each of `STORED_BLOCKS_MAX` blocks at most.
    runs: Vec<Run>,
    block_count: usize,
}

/// Adjacent blocks.
struct Run {
    range: Range<u64>,
    fingerprints: Vec<Fingerprint>,
}

impl<'w, 'a> Copy<'w, 'a> {
    fn new(work: &'w Work<'a>, teller: SyncSender<u64>) -> Self {
        Self { work, teller, told_at: 0, lacking: Lacking::default(), copied: Copied::default() }
    }

    /// Takes ranges until there are none left.
    fn run(mut self) -> Copied {
        while let Some(ranges) = self.work.next() {
            if let Err(error) = ranges.and_then(|ranges| self.ranges(&ranges)) {
                self.work.fail(error);
            }
        }
        self.copied
    }

    fn tell(&mut self, at: u64) -> Result<()> {
        self.told_at = at;
        self.work.tell(&self.teller, at)
    }

    fn ranges(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        match ranges {
            [range] => self.range(range.clone())?,
            several => self.together(several)?,
        }
        self.bring()
    }

    /// Compares short ranges, with one question to each side.
    fn together(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        let blocks: Vec<_> = ranges.iter().map(|range| range.start / BLOCK..range.end.div_ceil(BLOCK)).collect();
        let (source, target) = (self.work.source, self.work.target);
        let wanted = source.data()?.fingerprints_of(&blocks)?;
        let there = target.data()?.fingerprints_of(&blocks)?;
        let size_bytes = source.size_bytes();
        let mut zeros = 0..0;
        for (block, (wanted, there)) in blocks.into_iter().flatten().zip(wanted.into_iter().zip(there)) {
            let range = block * BLOCK..((block + 1) * BLOCK).min(size_bytes);
            match wanted {
                _ if wanted == there => {}
                Some(fingerprint) => self.lack(range, fingerprint)?,
                None if zeros.end == range.start => zeros.end = range.end,
                None => {
                    let before = std::mem::replace(&mut zeros, range);
                    target.trim(before.start, before.end - before.start)?;
                }
            }
        }
        target.trim(zeros.start, zeros.end - zeros.start)?;
        self.copied.compared_bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        ranges.last().map_or(Ok(()), |last| self.tell(last.end))
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
        Ok(())
    }

    /// Notes a block that the target does not hold.
    fn lack(&mut self, block: Range<u64>, fingerprint: Fingerprint) -> Result<()> {
        match self.lacking.runs.last_mut() {
            Some(run) if run.range.end == block.start => {
                run.range.end = block.end;
                run.fingerprints.push(fingerprint);
            }
            _ => self.lacking.runs.push(Run { range: block, fingerprints: vec![fingerprint] }),
        }
        self.lacking.block_count += 1;
        if self.lacking.block_count < STORED_BLOCKS_MAX { Ok(()) } else { self.bring() }
    }

    /// Gives the target what was noted, from its own store or from the source.
    fn bring(&mut self) -> Result<()> {
        let Lacking { runs, .. } = std::mem::take(&mut self.lacking);
        let Some(last) = runs.last() else { return Ok(()) };
        let (at, mut unknown) = (last.range.end, Vec::new());
        for Run { range, fingerprints } in runs {
            let known = self.work.target.data()?.write_known(range.start / BLOCK, &fingerprints)?;
            let mut at = range.start;
            for alike in known.chunk_by(|a, b| a == b) {
                // The volume's end may cut the last block.
                let end = (at + alike.len() as u64 * BLOCK).min(range.end);
                if alike[0] {
                    self.copied.known_bytes += end - at;
                } else {
                    unknown.push(at..end);
                }
                at = end;
            }
        }
        let read = self.work.source.data()?.read_many(&unknown)?;
        self.copied.read_bytes += read.iter().map(|data| data.len() as u64).sum::<u64>();
        let writes: Vec<_> =
            unknown.iter().zip(&read).map(|(range, data)| Write { offset: range.start, data }).collect();
        self.work.target.data()?.write_many(&writes)?;
        self.tell(at)
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
