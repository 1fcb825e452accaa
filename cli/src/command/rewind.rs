//! `silt rewind`

use jiff::Timestamp;
use siltstone::control::{Request, Response, Rewind as RewindRequest, Rewound};
use siltstone::name::VolumeName;
use siltstone::span::Span;

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;

/// Put a volume back to its newest snapshot from a time or before, or clone that snapshot.
///
/// What the volume holds now is kept in a snapshot first. Nobody may have the volume open, unless it is cloned.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("when").required(true).args(["ago", "to"])))]
pub(crate) struct Rewind {
    /// The volume.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// So long before now, for example 5m.
    #[arg(long, value_parser = super::span, value_name = "TIME")]
    ago: Option<Span>,
    /// To a moment, for example 2026-11-26T07:15:00Z.
    #[arg(long, value_name = "RFC 3339")]
    to: Option<Timestamp>,
    /// Leave the volume as it is, and make a new one that holds the snapshot.
    #[arg(long = "as", value_parser = super::volume_name, value_name = "NEW")]
    clone: Option<VolumeName>,
}

impl Rewind {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let request = RewindRequest {
            name: self.name.to_string(),
            ago_s: self.ago.map(Span::seconds),
            at: self.to.map(|to| to.to_string()),
            to: self.clone.as_ref().map(ToString::to_string),
        };
        match backend::ask(global, Access::Write, &Request::Rewind(request))? {
            Response::Rewound(rewound) => {
                Output::new(global).done(&rewound, || text(&rewound))?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}

fn text(rewound: &Rewound) -> String {
    match &rewound.before {
        Some(before) => format!("put {} back to {}; {before} has what it held", rewound.volume.name, rewound.to),
        None => format!("cloned {} to {}", rewound.to, rewound.volume.name),
    }
}
