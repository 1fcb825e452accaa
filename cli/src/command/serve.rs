//! `silt serve`

mod network;

use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;
use siltstone::control::{CreateVolume, Handler, NoTransfer, Request};
use siltstone::name::{InvalidName, VolumeName};
use siltstone::store::codec::{Codec, ZstdLevel};

use crate::args::Global;
use crate::daemon::{Daemon, Options, Signals};
use crate::data_dir::DataDir;
use crate::exit::Exit;
use crate::handler::NodeHandler;
use crate::handler::space::WarnAt;
use crate::output::Output;
use crate::size::{InvalidSize, Size};
use network::{Network, Reach};

/// Serve the volumes of a data directory by NBD until SIGTERM or Ctrl-C; a second Ctrl-C does not wait.
///
/// Clients connect to DIR/nbd.sock, or by TCP; the export name is the volume's name, or VOLUME@NAME for a
/// snapshot. With --tls-cert and --tls-key nothing is served by TCP without TLS (nbds://), and other machines may be let
/// in; with --receive other nodes may send snapshots as well. Without --capacity the store grows on demand and can run out of disk space that others take. With --join the node
/// becomes part of a cluster, once: it is in it from then on.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Make a volume unless there is one of this size, for example demo=10G or demo=10G,codec=zstd:3. Repeatable.
    #[arg(long, value_name = "NAME=SIZE[,codec=CODEC]")]
    create: Vec<Wanted>,
    /// Memory for everything: caches, index, accepted writes. At least 128M.
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    memory: Size,
    /// Allocate the store's space ahead, so that no other process can take it. `silt capacity` changes it later.
    #[arg(long, value_name = "SIZE")]
    capacity: Option<Size>,
    /// How volumes are compressed whose maker does not say: lz4, zstd, zstd:1 to zstd:19, or none.
    #[arg(long, default_value = "lz4", value_parser = super::codec)]
    codec: String,
    /// How full the store has to be, in percent, for `silt status` to warn.
    #[arg(long, value_name = "PERCENT,...", default_value = "80,90")]
    warn_at: WarnAt,
    /// Compress what nobody has read for an hour in groups of 64 KiB while there is nothing else to do, by zstd, zstd:1 to
    /// zstd:19, or not: off.
    #[arg(long, value_name = "CODEC", default_value = "zstd:3")]
    cold: Cold,
    #[command(flatten)]
    network: Network,
}

/// The level of cold data, if it is compressed again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cold(Option<ZstdLevel>);

impl FromStr for Cold {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("off", _) => Ok(Self(None)),
            (_, Ok(Codec::Zstd { level })) => Ok(Self(Some(level))),
            _ => Err("write zstd, zstd:LEVEL with a level of 1 to 19, or off"),
        }
    }
}

/// A volume that must be there.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    name: VolumeName,
    size_bytes: u64,
    codec: Option<String>,
}

/// What is wrong with a wanted volume.
#[derive(Debug)]
enum InvalidWanted {
    Form,
    Name(InvalidName),
    Size(InvalidSize),
    Codec(siltstone::store::Error),
}

impl std::fmt::Display for InvalidWanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form => f.write_str("write NAME=SIZE or NAME=SIZE,codec=CODEC"),
            Self::Name(error) => error.fmt(f),
            Self::Size(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InvalidWanted {}

impl FromStr for Wanted {
    type Err = InvalidWanted;

    fn from_str(text: &str) -> Result<Self, InvalidWanted> {
        let (name, rest) = text.split_once('=').ok_or(InvalidWanted::Form)?;
        let (size, options) = rest.split_once(',').map_or((rest, None), |(size, options)| (size, Some(options)));
        let codec = options.map(|options| options.strip_prefix("codec=").ok_or(InvalidWanted::Form)).transpose()?;
        Ok(Self {
            name: name.parse().map_err(InvalidWanted::Name)?,
            size_bytes: size.parse::<Size>().map_err(InvalidWanted::Size)?.0,
            codec: codec.map(super::codec).transpose().map_err(InvalidWanted::Codec)?,
        })
    }
}

/// What `--json` prints once clients can connect.
#[derive(Serialize)]
struct Ready<'d> {
    message_type: &'static str,
    pid: u32,
    data: String,
    endpoints: Vec<String>,
    /// Where snapshots are received.
    #[serde(skip_serializing_if = "Option::is_none")]
    receive: Option<String>,
    volumes: Vec<ReadyVolume>,
    warnings: &'d [String],
}

#[derive(Serialize)]
struct ReadyVolume {
    name: String,
    size_bytes: u64,
    uris: Vec<String>,
}

impl Serve {
    pub(crate) fn run(&self, global: &Global) -> anyhow::Result<Exit> {
        let dir = DataDir::new(&global.data)?;
        let Reach { listen, receive, place, token, warnings } = self.network.reach(&dir)?;
        let options = Options {
            memory_bytes: self.memory.0,
            capacity_bytes: self.capacity.map(|size| size.0),
            codec: self.codec.parse::<Codec>()?,
            cold: self.cold.0,
            listen,
            receive,
            place,
            token,
            warn_at: self.warn_at.clone(),
            warnings,
        };
        // First, so that one that comes while the store is opened stops the daemon cleanly too.
        let mut signals = Signals::catch()?;
        let daemon = Daemon::start(&dir, &options, |handler| self.create_wanted(handler))?;
        announce(global, &dir, &daemon)?;
        signals.wait()?;
        tracing::info!("stopping");
        daemon.stop()?;
        tracing::info!("stopped");
        Ok(Exit::Ok)
    }

    fn create_wanted(&self, handler: &NodeHandler) -> anyhow::Result<()> {
        for wanted in &self.create {
            // Of a new name it must be certain that no replicated volume has it.
            if handler.node().volumes().iter().all(|volume| volume.name != wanted.name) {
                handler.know_cluster().with_context(|| format!("making volume {}", wanted.name))?;
            }
            let create = CreateVolume {
                name: wanted.name.to_string(),
                size_bytes: wanted.size_bytes,
                codec: Some(wanted.codec.as_ref().unwrap_or(&self.codec).clone()),
                reuse: true,
                reserve_bytes: None,
                quota_bytes: None,
                replicas: None,
            };
            handler.handle(&Request::Create(create), &mut NoTransfer)?;
        }
        Ok(())
    }
}

fn announce(global: &Global, dir: &DataDir, daemon: &Daemon) -> anyhow::Result<()> {
    let volumes = daemon.node().volumes().into_iter().map(|volume| ReadyVolume {
        size_bytes: volume.info.size_bytes,
        uris: daemon.endpoints().iter().map(|endpoint| endpoint.uri(&volume.name.clone().into())).collect(),
        name: volume.name.to_string(),
    });
    let ready = Ready {
        message_type: "ready",
        pid: std::process::id(),
        data: dir.path().display().to_string(),
        endpoints: daemon.endpoints().iter().map(|endpoint| endpoint.base()).collect(),
        receive: daemon.receives_at().map(|address| format!("silt://{address}")),
        volumes: volumes.collect(),
        warnings: daemon.warnings(),
    };
    let output = Output::new(global);
    ready.warnings.iter().for_each(|warning| output.note(warning));
    output.answer(&ready, || text(&ready))?;
    Ok(())
}

fn text(ready: &Ready<'_>) -> String {
    let mut text: String = ready.volumes.iter().flat_map(|volume| &volume.uris).map(|uri| format!("{uri}\n")).collect();
    if let Some(receive) = &ready.receive {
        text += &format!("receiving snapshots at {receive}\n");
    }
    let plural = if ready.volumes.len() == 1 { "" } else { "s" };
    text += &format!("serving {} volume{plural} from {}; Ctrl-C stops it\n", ready.volumes.len(), ready.data);
    text
}

#[cfg(test)]
mod tests;
