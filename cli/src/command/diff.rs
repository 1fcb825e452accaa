//! `silt diff`

use std::io::{self, StdoutLock, Write};

use siltstone::control::{ChangedRange, Changes, Kind, NoTransfer, Request, Response};
use siltstone::name::ExportName;

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::{Complaint, Exit};
use crate::size;

/// List the ranges in which a volume or snapshot differs from an earlier one.
///
/// The two must share their past: one is a snapshot or clone of the other, or both are of a third. No data is read; the
/// cost is that of what changed. A range that is named was written, if perhaps with what it held before.
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The earlier one: a snapshot as VOLUME@NAME, or a volume.
    #[arg(value_parser = super::export_name, value_name = "FROM")]
    from: ExportName,
    /// The later one.
    #[arg(value_parser = super::export_name, value_name = "TO")]
    to: ExportName,
}

impl Diff {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, Access::Read)?;
        let first = self.page(&mut backend, 0)?;
        let mut listing = Listing::new(global.json, io::stdout().lock());
        listing.begin(self, &first)?;
        let ids = (first.from_id, first.to_id);
        let mut page = first;
        loop {
            if (page.from_id, page.to_id) != ids {
                let message = format!("{} or {} was replaced meanwhile: try again", self.from, self.to);
                return Err(Complaint::new(Kind::Busy, message).into());
            }
            page.extents.iter().try_for_each(|range| listing.push(*range))?;
            let Some(offset) = page.next_offset else { break };
            page = self.page(&mut backend, offset)?;
        }
        listing.finish()?;
        backend.close()?;
        Ok(Exit::Ok)
    }

    fn page(&self, backend: &mut Backend, offset: u64) -> anyhow::Result<Changes> {
        let request = Request::Changes { from: self.from.to_string(), to: self.to.to_string(), offset };
        match backend.call(&request, &mut NoTransfer)? {
            Response::Changes(page) => Ok(page),
            other => Err(backend::unexpected(&other)),
        }
    }
}

/// What is printed as pages come: nothing is kept but the last range, which the next page may continue.
struct Listing<'a> {
    json: bool,
    out: io::BufWriter<StdoutLock<'a>>,
    last: Option<ChangedRange>,
    printed_count: u64,
    changed_bytes: u64,
}

impl<'a> Listing<'a> {
    fn new(json: bool, out: StdoutLock<'a>) -> Self {
        Self { json, out: io::BufWriter::new(out), last: None, printed_count: 0, changed_bytes: 0 }
    }

    fn begin(&mut self, diff: &Diff, first: &Changes) -> io::Result<()> {
        if !self.json {
            return writeln!(self.out, "{:>20}  {:>20}", "OFFSET", "LENGTH");
        }
        // Names need no escapes.
        write!(
            self.out,
            r#"{{"from":"{}","to":"{}","from_size_bytes":{},"to_size_bytes":{},"extents":["#,
            diff.from, diff.to, first.from_size_bytes, first.to_size_bytes
        )
    }

    fn push(&mut self, range: ChangedRange) -> io::Result<()> {
        match &mut self.last {
            Some(last) if last.offset + last.length == range.offset => {
                last.length += range.length;
                Ok(())
            }
            last => {
                let complete = last.replace(range);
                complete.map_or(Ok(()), |complete| self.print(complete))
            }
        }
    }

    fn print(&mut self, ChangedRange { offset, length }: ChangedRange) -> io::Result<()> {
        let separator = if self.printed_count == 0 { "" } else { "," };
        self.printed_count += 1;
        self.changed_bytes += length;
        if self.json {
            write!(self.out, r#"{separator}{{"offset":{offset},"length":{length}}}"#)
        } else {
            writeln!(self.out, "{offset:>20}  {length:>20}")
        }
    }

    fn finish(mut self) -> io::Result<()> {
        if let Some(last) = self.last.take() {
            self.print(last)?;
        }
        let (bytes, count) = (self.changed_bytes, self.printed_count);
        if self.json {
            writeln!(self.out, r#"],"changed_bytes":{bytes}}}"#)?;
        } else {
            let ranges = if count == 1 { "range" } else { "ranges" };
            writeln!(self.out, "{} ({bytes} bytes) in {count} {ranges}", size::human(bytes))?;
        }
        self.out.flush()
    }
}
