//! `silt create`

use siltstone::control::{CreateVolume, Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::exit::Exit;
use crate::output::Output;
use crate::size::{self, Size};

/// Make an empty volume. It takes space only as it is written.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The volume: a-z, 0-9, '.', '_' and '-', at most 63.
    #[arg(value_parser = super::volume_name)]
    name: VolumeName,
    /// Its size, for example 10G (GiB); at most 1P.
    #[arg(long, short)]
    size: Size,
    /// How its blocks are compressed: lz4, zstd, zstd:1 to zstd:19, or none. The node's default is lz4.
    #[arg(long, value_parser = super::codec)]
    codec: Option<String>,
    /// How many nodes of the cluster hold it, 1 to 7. Without it the volume is of this node alone.
    #[arg(long, value_name = "N", value_parser = super::replicas)]
    replicas: Option<u8>,
    /// Room kept for it that other volumes cannot take, for example 10G.
    #[arg(long, value_name = "SIZE")]
    reserve: Option<Size>,
    /// How much it may hold at most: blocks with data, before dedupe and compression.
    #[arg(long, value_name = "SIZE")]
    quota: Option<Size>,
}

impl Create {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let create = CreateVolume {
            name: self.name.to_string(),
            size_bytes: self.size.0,
            codec: self.codec.clone(),
            reuse: false,
            reserve_bytes: self.reserve.map(|size| size.0),
            quota_bytes: self.quota.map(|size| size.0),
            replicas: self.replicas,
        };
        match backend::ask(global, super::access_to_make(self.replicas), &Request::Create(create))? {
            Response::Volume(volume) => {
                super::check_replicated(self.replicas, &volume)?;
                let text = || format!("created {}, {}", volume.name, size::human(volume.size_bytes));
                Output::new(global).done(&volume, text)?;
                Ok(Exit::Ok)
            }
            other => Err(backend::unexpected(&other)),
        }
    }
}
