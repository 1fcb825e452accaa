//! `silt gc`

use serde::Serialize;
use siltstone::control::{Collect, Collected, NoTransfer, PackCold, Packed, Request, Response};

use crate::args::Global;
use crate::backend::{self, Backend};
use crate::data_dir::{Access, DataDir};
use crate::exit::Exit;
use crate::output::Output;
use crate::{progress, size};

/// Give back the space of overwritten, trimmed and deleted data, or compress cold data better. A daemon does both by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Gc {
    /// Collect also where only little is dead. With --cold, take also what was read lately.
    #[arg(long)]
    now: bool,
    /// Compress what nobody has read lately by zstd in groups of 64 KiB: smaller, slower to read at random.
    #[arg(long)]
    cold: bool,
    /// Only tell what would be done next.
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let access = if self.dry_run { Access::Read } else { Access::Write };
        if self.cold {
            return self.pack(global, access);
        }
        let request = Request::Collect(Collect { now: self.now, dry_run: self.dry_run });
        match backend::ask(global, access, &request)? {
            Response::Collected(collected) => {
                Output::new(global).answer(&collected, || text(&collected, self.dry_run))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }

    /// Asks for one batch after the other, so that it can be followed and interrupted.
    fn pack(&self, global: &Global, access: Access) -> anyhow::Result<Exit> {
        let mut backend = Backend::open(&DataDir::new(&global.data)?, access)?;
        let packed = self.pack_all(global, &mut backend);
        let closed = backend.close();
        let packed = packed?;
        closed?;
        Output::new(global).answer(&packed, || packed_text(&packed))?;
        Ok(Exit::Ok)
    }

    fn pack_all(&self, global: &Global, backend: &mut Backend) -> anyhow::Result<PackedDocument> {
        let mut ask = |dry_run, last_segment| {
            let request = Request::PackCold(PackCold { all: self.now, dry_run, last_segment });
            match backend.call(&request, &mut NoTransfer)? {
                Response::Packed(packed) => Ok::<Packed, anyhow::Error>(packed),
                other => Err(backend::unexpected(&other)),
            }
        };
        let mut answer = ask(true, None)?;
        let mut document = PackedDocument::default();
        let bar = progress::bytes(global, "packing", Some(answer.left_bytes));
        while answer.left_segments > 0 && !self.dry_run {
            answer = ask(false, Some(answer.last_segment))?;
            document.segments += answer.segments;
            document.segment_bytes += answer.segment_bytes;
            document.packed_bytes += answer.packed_bytes;
            bar.inc(answer.segment_bytes);
        }
        bar.finish_and_clear();
        (document.left_segments, document.left_bytes) = (answer.left_segments, answer.left_bytes);
        Ok(document)
    }
}

/// What came of `silt gc --cold`, as `--json` prints it.
#[derive(Default, Serialize)]
struct PackedDocument {
    segments: u64,
    segment_bytes: u64,
    packed_bytes: u64,
    left_segments: u64,
    left_bytes: u64,
}

fn packed_text(packed: &PackedDocument) -> String {
    let PackedDocument { segments, segment_bytes, packed_bytes, left_segments, left_bytes } = packed;
    match (left_segments, segments) {
        (0, 0) => "nothing is cold that is not packed yet\n".into(),
        (0, _) => {
            let (before, after) = (size::human(*segment_bytes), size::human(*packed_bytes));
            format!("packed {segments} segments: {before} before, {after} now\n")
        }
        (_, _) => format!("{left_segments} segments of {} would be packed\n", size::human(*left_bytes)),
    }
}

fn text(collected: &Collected, dry_run: bool) -> String {
    let Collected { segments, segment_bytes, relocated_bytes, .. } = collected;
    let freed = size::human(segment_bytes.saturating_sub(*relocated_bytes));
    let (bytes, moved) = (size::human(*segment_bytes), size::human(*relocated_bytes));
    match (segments, dry_run) {
        (0, _) => "nothing is worth collecting\n".into(),
        (_, true) => {
            format!("the next batch would free {freed}: {segments} segments of {bytes}, of which {moved} live\n")
        }
        (_, false) => format!("freed {freed}: {segments} segments of {bytes}, of which {moved} lived and were moved\n"),
    }
}
