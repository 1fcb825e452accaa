//! `silt rm`

use siltstone::control::{Request, Response, TrashDescription};
use siltstone::name::VolumeName;
use siltstone::span::Span;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Move volumes to the trash, from where `silt trash restore` gets them back. Clones of them stay.
///
/// They go for good when their time is over, or by `silt trash purge`; until then they take the space they took before.
/// A replicated volume goes to the trash of the cluster, from where any node gets it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The volumes. The first that cannot be removed ends the command.
    #[arg(required = true, value_parser = super::volume_name)]
    names: Vec<VolumeName>,
    /// Remove their snapshots too. A volume with snapshots stays otherwise.
    #[arg(long)]
    snapshots: bool,
    /// How long they stay in the trash, for example 12h or 30d.
    #[arg(long, value_parser = super::span, default_value = "7d", value_name = "TIME")]
    keep: Span,
    /// Remove them for good at once. There is no way back.
    #[arg(long, conflicts_with = "keep")]
    now: bool,
}

impl Rm {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let mut trash = Vec::new();
        for name in &self.names {
            trash.extend(self.remove(global, name)?);
        }
        let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
        let document = serde_json::json!({ "removed": names, "trash": trash });
        let text = || match trash.first() {
            None => format!("removed {}", names.join(", ")),
            Some(TrashDescription { expires, .. }) => {
                format!("moved {} to the trash, to be had back until {expires}", names.join(", "))
            }
        };
        Output::new(global).done(&document, text)?;
        Ok(Exit::Ok)
    }

    fn remove(&self, global: &Global, name: &VolumeName) -> anyhow::Result<Vec<TrashDescription>> {
        let (name, snapshots) = (name.to_string(), self.snapshots);
        let request = if self.now {
            Request::Remove { name, snapshots }
        } else {
            Request::Discard { name, snapshots, keep_s: self.keep.seconds() }
        };
        match backend::ask(global, Access::Write, &request)? {
            Response::Done if self.now => Ok(Vec::new()),
            Response::Trash { volumes } if !self.now => Ok(volumes),
            other => Err(backend::unexpected(&other)),
        }
    }
}
