//! Reads an object from one place to another with several reads under way.

use std::collections::{BTreeMap, VecDeque};

use lsm_store::Result;
use lsm_store::read::ReadData;
use lsm_store::store::VolumeReads;

use super::plan::{Plan, Run};
use super::reader::ObjectReader;

/// Reads under way at once, of 1 MiB at most.
const READS_MAX: usize = 8;

/// A stretch of an object, piece by piece.
pub struct ObjectStream {
    reader: ObjectReader,
    plan: Plan,
    reads: VolumeReads,
    under_way: VecDeque<(u64, Run)>,
    next_token: u64,
    /// Those that others before are waited for.
    finished: BTreeMap<u64, Result<ReadData>>,
}

impl ObjectStream {
    pub(super) fn new(reader: ObjectReader, offset: u64, end: u64) -> Result<Self> {
        let plan = Plan::new(&reader, offset, end);
        let reads = reader.volume().reads()?;
        Ok(Self { reader, plan, reads, under_way: VecDeque::new(), next_token: 0, finished: BTreeMap::new() })
    }

    /// The next piece, of at most 1 MiB and never empty; `None` at the end.
    ///
    /// # Errors
    /// As [`ObjectReader::read_at`]; then nothing more comes that could be relied on.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        while self.under_way.len() < READS_MAX
            && let Some(run) = self.plan.next(&self.reader)?
        {
            self.reads.start(self.next_token, run.offset, run.len);
            self.under_way.push_back((self.next_token, run));
            self.next_token += 1;
        }
        let Some((token, run)) = self.under_way.pop_front() else { return Ok(None) };
        let mut piece = Vec::new();
        run.take(&self.finished(token)?, &mut piece);
        Ok(Some(piece))
    }

    fn finished(&mut self, token: u64) -> Result<ReadData> {
        loop {
            while let Some((token, result)) = self.reads.next_finished() {
                self.finished.insert(token, result);
            }
            if let Some(result) = self.finished.remove(&token) {
                return result;
            }
            self.reads.wait(None, None)?;
        }
    }
}
