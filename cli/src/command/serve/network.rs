//! Where a daemon is reached: by NBD clients, and by the other nodes of a cluster.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use siltstone::cluster::{ClusterError, Place};
use siltstone::control::Kind;
use siltstone::join::Token;
use siltstone::store::clock::SystemClock;
use siltstone::tls::{Tls, TlsFiles};

use crate::daemon::{LISTEN, Listen, Receive};
use crate::data_dir::DataDir;
use crate::exit::Complaint;

/// Options of `silt serve` about the network.
#[derive(Debug, clap::Args)]
pub(super) struct Network {
    /// Where to serve NBD by TCP [default: 127.0.0.1:10809]. If the port is taken, the Unix socket alone serves. In a cluster
    /// the other nodes come to the same address by UDP; without this option, to the one last used.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Serve NBD by TCP under TLS only, with this certificate and those between it and a root, in PEM. Read at the start.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM. Must not be readable by everybody.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let in by TCP only clients with a certificate of these authorities, in PEM. `silt set VOL allow=NAME` says who may
    /// open what.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Receive snapshots that `silt send --to silt://` sends, at this address, from clients with a certificate of --tls-client-ca.
    /// What comes is as with `silt recv --serve`.
    #[arg(long, value_name = "ADDR:PORT", requires = "tls_client_ca")]
    receive: Option<SocketAddr>,
    /// Permit --listen without TLS on an address that other machines reach: no encryption, no login.
    #[arg(long, conflicts_with = "tls_cert")]
    insecure_listen: bool,
    /// Serve NBD by the Unix socket only. --listen is then for the other nodes of a cluster alone.
    #[arg(long, conflicts_with_all = ["insecure_listen", "tls_cert"])]
    no_tcp: bool,
    /// Join a cluster: what `silt cluster token` printed on one of its nodes, or @ and a file that holds it. Other users of the
    /// machine can see a token on the command line.
    #[arg(long, value_name = "TOKEN|@FILE")]
    join: Option<String>,
    /// With --join: what fails together with this node, for example its rack. Copies go to different zones where possible.
    #[arg(long, requires = "join")]
    zone: Option<String>,
    /// With --join: what the node is called in the cluster.
    #[arg(long, requires = "join", value_name = "NAME")]
    node_name: Option<String>,
}

/// Where a daemon is reached.
pub(super) struct Reach {
    pub(super) listen: Option<Listen>,
    pub(super) receive: Option<Receive>,
    pub(super) place: Place,
    pub(super) token: Option<Token>,
    pub(super) warnings: Vec<String>,
}

/// How NBD is served by TCP.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Tcp {
    At(SocketAddr),
    /// Not, as it was asked for.
    Off,
    /// Not, since nobody permitted it at an address that serves the cluster.
    Withheld,
}

impl Network {
    /// Looks at all of it, before there is anything to undo.
    pub(super) fn reach(&self, dir: &DataDir) -> anyhow::Result<Reach> {
        let mut warnings = Vec::new();
        let token = self.token(dir.is_in_cluster(), &mut warnings)?;
        let tls = self.tls_files().map(|files| Tls::load(&files, Arc::new(SystemClock::new()))).transpose()?;
        let receive = self.receive.zip(tls.clone()).map(|(address, tls)| Receive { address, tls });
        let listen = match self.tcp(token.is_some() || dir.is_in_cluster())? {
            Tcp::At(address) => Some(Listen { address, tls }),
            Tcp::Off => None,
            Tcp::Withheld => {
                warnings.push(self.withheld());
                None
            }
        };
        let (name, zone) = (self.node_name.clone(), self.zone.clone());
        let place = Place { data: dir.path().into(), listen: self.listen, name, zone };
        Ok(Reach { listen, receive, place, token, warnings })
    }

    fn address(&self) -> SocketAddr {
        self.listen.unwrap_or(LISTEN)
    }

    pub(super) fn tcp(&self, has_cluster: bool) -> Result<Tcp, Complaint> {
        let address = self.address();
        if self.no_tcp {
            return Ok(Tcp::Off);
        }
        if address.ip().is_loopback() || self.insecure_listen || self.tls_cert.is_some() {
            return Ok(Tcp::At(address));
        }
        if has_cluster {
            return Ok(Tcp::Withheld);
        }
        let message = format!(
            "{address} can be reached by other machines, and without --tls-cert and --tls-key there is neither encryption nor \
             login: --insecure-listen permits that on a network you trust, and with --no-tcp the address is for a cluster alone"
        );
        Err(Complaint::new(Kind::Invalid, message))
    }

    fn withheld(&self) -> String {
        format!(
            "{} can be reached by other machines, and there is no --tls-cert: it serves the cluster, and NBD is served by the \
             Unix socket only",
            self.address()
        )
    }

    fn tls_files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { certificate, key, client_authorities: self.tls_client_ca.clone() })
    }

    /// The token to join with. A node that is in a cluster needs none: its file may be gone.
    pub(super) fn token(&self, is_in_cluster: bool, warnings: &mut Vec<String>) -> anyhow::Result<Option<Token>> {
        match &self.join {
            None => Ok(None),
            Some(_) if is_in_cluster => {
                warnings.push("the node is in a cluster already and goes on in it: --join is left out".into());
                Ok(None)
            }
            Some(text) => Ok(Some(parse_token(text)?)),
        }
    }
}

/// A token, or the content of the file behind `@`. What is no token is not shown: it may be nearly one.
fn parse_token(text: &str) -> anyhow::Result<Token> {
    let read = |file| fs::read_to_string(file).with_context(|| format!("reading the join token in {file}"));
    let text = text.strip_prefix('@').map_or_else(|| Ok(text.to_owned()), read)?;
    Ok(text.trim().parse().map_err(ClusterError::Token)?)
}
