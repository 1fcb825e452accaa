//! What the files of a log hold: the chain of headers and frames, followed to its end. Nothing is changed.
//!
//! The first link that does not follow ends the log, unless something behind it says that it had been synced: then the log
//! is damaged. `docs/disk-format.md`, "Replica logs".

use lsm_store::device::{Access, Device};

use super::BootId;
use super::error::{LogError, Result};
use super::frame::{FRAME_HEADER_BYTES, Sequence};
use super::header::{HEADER_BYTES, Header};
use super::index::{Index, Placed};
use super::place::{FileNumber, Place};
use super::scan::Scan;
use super::state::{Change, State};

/// A log as it was found.
pub(super) struct Chain {
    pub(super) state: State,
    pub(super) index: Index,
    /// Numbers of its files, each with the sequence of its last frame.
    pub(super) files: Vec<(FileNumber, Sequence)>,
    /// Where in the last of them it ends.
    pub(super) end: u64,
    /// Checksum that what comes next has to name.
    pub(super) previous: u32,
    /// Sequence of the last frame.
    pub(super) last: Sequence,
    /// Frames up to here are known to be on stable storage.
    pub(super) synced: Sequence,
    /// Files that are not of the log.
    pub(super) strays: Vec<FileNumber>,
    /// Who wrote the last file.
    boot: BootId,
    /// Something was written behind the end and did not stay.
    is_cut: bool,
}

impl Chain {
    /// True if everything is still there that was ever handed to the kernel.
    pub(super) fn is_intact(&self, boot: BootId) -> bool {
        self.boot == boot && !self.is_cut && !self.state.is_doubted
    }

    /// The first link: what a file says at its beginning.
    fn start(number: FileNumber, header: &Header, checksum: u32) -> Self {
        let last = Sequence(header.first.0 - 1);
        Self {
            state: header.state.clone(),
            index: Index::new(header.state.end()),
            files: vec![(number, last)],
            end: HEADER_BYTES as u64,
            previous: checksum,
            last,
            synced: header.synced,
            strays: Vec::new(),
            boot: header.boot,
            is_cut: false,
        }
    }

    /// True if the file with this header goes on where the chain is.
    fn leads_to(&self, header: &Header) -> bool {
        header.first == self.last.next() && header.previous == self.previous
    }

    /// Goes on with the next file.
    fn enter(&mut self, scan: &Scan, header: &Header, checksum: u32) -> Result<()> {
        if header.is_install {
            self.index = Index::new(header.state.end());
        } else if !self.state.goes_on_with(&header.state) {
            return Err(LogError::corrupt(&scan.path, 0, "the file does not go on with what the one before ends with"));
        }
        self.files.push((scan.number, self.last));
        self.state = header.state.clone();
        (self.end, self.previous, self.boot) = (HEADER_BYTES as u64, checksum, header.boot);
        self.synced = self.synced.max(header.synced);
        Ok(())
    }

    /// Takes the frame at the end of the chain, if a whole one follows there; false if none does.
    fn take_frame(&mut self, scan: &mut Scan) -> Result<bool> {
        let offset = self.end;
        let Some(frame) = scan.frame(offset, self.last.next(), self.previous)? else { return Ok(false) };
        let (header, change) = (frame.header, frame.header.change(frame.body));
        let corrupt = |what| LogError::corrupt(&scan.path, offset, what);
        let change = change.ok_or_else(|| corrupt("a frame that makes no sense"))?;
        self.state.apply(&change).map_err(corrupt)?;
        match change {
            Change::Records { first, .. } => {
                let body_bytes = header.body_bytes() as u32;
                self.index.push(Placed { first, file: scan.number, offset, body_bytes }, self.state.end());
            }
            Change::Truncate { beyond } => self.index.truncate(beyond),
            Change::Note(_) | Change::Checkpoint { .. } | Change::Tear => {}
        }
        self.end += header.file_bytes();
        self.previous = header.checksum();
        self.last = header.link().sequence;
        self.synced = self.synced.max(header.link().synced);
        self.files.last_mut().expect("a chain is in a file").1 = self.last;
        Ok(true)
    }
}

/// Follows the log in these files, of which there is at least one.
///
/// # Errors
/// [`LogError::Io`], [`LogError::Corrupt`], [`LogError::Unsupported`].
pub(super) fn recover(device: &dyn Device, place: &Place, numbers: &[FileNumber]) -> Result<Chain> {
    let start = after_last_gap(numbers);
    let mut scans = Vec::new();
    for number in &numbers[start..] {
        scans.push(Scan::open(device, place, *number)?);
    }
    let (mut chain, reached) = follow(&mut scans)?;
    refuse_if_synced_beyond(&chain, &mut scans[reached..])?;
    if chain.index.start() > chain.state.floor.next() {
        return Err(LogError::corrupt(&scans[0].path, 0, "the log begins behind its floor"));
    }
    chain.is_cut = is_cut(device, &chain, &scans[reached..])?;
    chain.strays = numbers[..start].iter().chain(&numbers[start + reached + 1..]).copied().collect();
    Ok(chain)
}

/// Where the files of a log begin. They are consecutive; those before a gap were removed, and came back with a power cut.
fn after_last_gap(numbers: &[FileNumber]) -> usize {
    let gap = numbers.windows(2).rposition(|pair| pair[0].next() != pair[1]);
    gap.map_or(0, |before| before + 1)
}

/// The chain through the files, and which of them it ends in.
fn follow(scans: &mut [Scan]) -> Result<(Chain, usize)> {
    let Some((header, checksum)) = &scans[0].header else {
        return Err(LogError::corrupt(&scans[0].path, 0, "the first file has no header"));
    };
    let mut chain = Chain::start(scans[0].number, header, *checksum);
    let mut current = 0;
    loop {
        let (scan, behind) = scans[current..].split_first_mut().expect("the chain is in a file");
        let following = behind.first().and_then(|scan| Some((scan, scan.header.as_ref()?)));
        match following.filter(|(_, (header, _))| chain.leads_to(header)) {
            Some((next, (header, checksum))) => {
                chain.enter(next, header, *checksum)?;
                scan.forget_window();
                current += 1;
            }
            None if chain.take_frame(scan)? => {}
            None => return Ok((chain, current)),
        }
    }
}

/// Looks behind the end of the chain, in the file where it ends and those behind, for a sign that something is missing.
fn refuse_if_synced_beyond(chain: &Chain, scans: &mut [Scan]) -> Result<()> {
    let mut offset = chain.end;
    let mut synced = None;
    for scan in scans.iter_mut() {
        let header = scan.header.as_ref().map(|(header, _)| header.synced);
        synced = synced.max(header).max(scan.synced_beyond(offset)?);
        scan.forget_window();
        offset = HEADER_BYTES as u64;
    }
    if synced > Some(chain.last) {
        return Err(LogError::corrupt(&scans[0].path, chain.end, "something that was synced is missing"));
    }
    Ok(())
}

/// True if there is something behind the end of the chain, be it in the page cache only, which after a failed sync holds
/// what the disk does not.
fn is_cut(device: &dyn Device, chain: &Chain, scans: &[Scan]) -> Result<bool> {
    for (scan, offset) in scans.iter().zip([chain.end, 0]) {
        let fail = |error| LogError::io("reading", &scan.path, error);
        let file = device.open(&scan.path, Access::Buffered).map_err(fail)?;
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let is_within = file.len().map_err(fail)? >= offset + bytes.len() as u64;
        if is_within {
            file.read_at(&mut bytes, offset).map_err(fail)?;
        }
        if bytes != [0; FRAME_HEADER_BYTES] {
            return Ok(true);
        }
    }
    Ok(false)
}
