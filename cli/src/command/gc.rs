//! `silt gc`

use siltstone::control::{Collect, Collected, Request, Response};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size;

/// Give back the space of overwritten, trimmed and deleted data. A daemon does so by itself when much of it may be dead.
#[derive(Debug, clap::Args)]
pub(crate) struct Gc {
    /// Collect also where only little is dead.
    #[arg(long)]
    now: bool,
    /// Only tell what would be done next.
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let access = if self.dry_run { Access::Read } else { Access::Write };
        let request = Request::Collect(Collect { now: self.now, dry_run: self.dry_run });
        match backend::ask(global, access, &request)? {
            Response::Collected(collected) => {
                Output::new(global).answer(&collected, || text(&collected, self.dry_run))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
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
