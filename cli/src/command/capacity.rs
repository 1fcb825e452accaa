//! `silt capacity`

use std::str::FromStr;

use siltstone::control::{Request, Response};

use crate::args::Global;
use crate::backend;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::size::{self, InvalidSize, Size};

/// Allocate the store's space ahead, so that no other process can take it, or let it grow on demand.
#[derive(Debug, clap::Args)]
pub(crate) struct Capacity {
    /// The size of the store, for example 100G (GiB), or `none` to grow on demand.
    capacity: Wish,
}

#[derive(Clone, Copy, Debug)]
struct Wish(Option<u64>);

impl FromStr for Wish {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|Size(bytes)| Self(Some(bytes))) }
    }
}

impl Capacity {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let capacity_bytes = self.capacity.0;
        match backend::ask(global, Access::Write, &Request::SetCapacity { capacity_bytes })? {
            Response::Done => {
                let text = || match capacity_bytes {
                    Some(bytes) => format!("the store has {}", size::human(bytes)),
                    None => "the store grows on demand".into(),
                };
                Output::new(global).done(&serde_json::json!({ "capacity_bytes": capacity_bytes }), text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
