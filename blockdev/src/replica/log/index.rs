//! Where the records of a log are: the frames that hold them, in memory, by LSN.

use std::collections::VecDeque;

use net::id::Lsn;

use super::place::FileNumber;

/// A frame with records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    /// LSN of its first record.
    pub(super) first: Lsn,
    pub(super) file: FileNumber,
    pub(super) offset: u64,
    /// Bytes of its body, which follows its header.
    pub(super) body_bytes: u32,
}

/// What a frame does to the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Indexed {
    /// Adds records up to an LSN.
    Records(Placed, Lsn),
    /// Forgets those beyond an LSN.
    Truncate(Lsn),
}

/// Part of a frame: the records `first..=last` are of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) frame: Placed,
    pub(super) first: Lsn,
    pub(super) last: Lsn,
}

/// The frames that hold a log's records, in order.
///
/// A frame's records are of the log up to the next frame's first: the others were truncated.
#[derive(Debug)]
pub(super) struct Index {
    frames: VecDeque<Placed>,
    end: Lsn,
}

impl Index {
    /// An index of a log without records that can be read, which ends at `end`.
    pub(super) fn new(end: Lsn) -> Self {
        Self { frames: VecDeque::new(), end }
    }

    /// Carries out what a frame does.
    pub(super) fn apply(&mut self, change: &Indexed) {
        match change {
            Indexed::Records(frame, last) => self.push(*frame, *last),
            Indexed::Truncate(beyond) => self.truncate(*beyond),
        }
    }

    /// Adds the frame whose last record is `last`.
    pub(super) fn push(&mut self, frame: Placed, last: Lsn) {
        assert!(frame.first == self.end.next() && last >= frame.first, "frames of records follow one another");
        self.frames.push_back(frame);
        self.end = last;
    }

    /// Forgets records beyond an LSN.
    pub(super) fn truncate(&mut self, beyond: Lsn) {
        let kept = self.frames.partition_point(|frame| frame.first <= beyond);
        self.frames.truncate(kept);
        self.end = self.end.min(beyond);
    }

    /// Forgets the frames of files before `file`.
    pub(super) fn forget_before(&mut self, file: FileNumber) {
        while self.frames.front().is_some_and(|frame| frame.file < file) {
            self.frames.pop_front();
        }
    }

    /// The first LSN that can be read; the one behind the end if none can.
    pub(super) fn start(&self) -> Lsn {
        self.frames.front().map_or(self.end.next(), |frame| frame.first)
    }

    /// The last record that is in a file up to `file`, or was before it; the log's end if no later file has any.
    pub(super) fn last_of(&self, file: FileNumber) -> Lsn {
        let later = self.frames.partition_point(|frame| frame.file <= file);
        self.frames.get(later).map_or(self.end, |frame| Lsn(frame.first.0 - 1))
    }

    /// The frames to read for `count_max` records from `after` on, and no more than hold `bytes_max` bytes.
    pub(super) fn plan(&self, after: Lsn, count_max: usize, bytes_max: u64) -> Vec<Part> {
        if after < Lsn(self.start().0 - 1) || after >= self.end {
            return Vec::new();
        }
        let mut parts: Vec<Part> = Vec::new();
        let (mut bytes, mut first) = (0, after.next());
        let last = Lsn(self.end.0.min(after.0.saturating_add(count_max.max(1) as u64)));
        let from = self.frames.partition_point(|frame| frame.first <= first) - 1;
        for index in from..self.frames.len() {
            let frame = self.frames[index];
            if first > last || (bytes >= bytes_max && !parts.is_empty()) {
                break;
            }
            let frame_last = self.frames.get(index + 1).map_or(self.end, |next| Lsn(next.first.0 - 1));
            parts.push(Part { frame, first, last: frame_last.min(last) });
            bytes += u64::from(frame.body_bytes);
            first = frame_last.next();
        }
        parts
    }
}

#[cfg(test)]
mod tests;
