//! Where a snapshot is sent to.

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use siltstone::control::{Kind, Request};
use siltstone::name::VolumeName;
use siltstone::store::clock::{Clock, SystemClock};
use siltstone::tls::{ClientTls, ClientTlsFiles};
use siltstone::transfer::remote::{self, PORT, RemoteError};

use super::offer;
use crate::args::Global;
use crate::exit::{Complaint, Exit};

const SCHEME: &str = "silt://";

/// A volume on another machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Ssh(Ssh),
    Daemon(Remote),
}

/// Behind ssh.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ssh {
    host: String,
    volume: VolumeName,
}

/// Behind a daemon that receives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Remote {
    host: String,
    port: u16,
    volume: VolumeName,
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(SCHEME) {
            Some(rest) => rest.parse().map(Self::Daemon),
            None => text.parse().map(Self::Ssh),
        }
    }
}

impl FromStr for Ssh {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, volume) = text.rsplit_once(':').ok_or("write [USER@]HOST:VOLUME or silt://HOST/VOLUME")?;
        // It must not be taken for an option of ssh.
        if host.is_empty() || host.starts_with('-') || host.contains(char::is_whitespace) {
            return Err("write [USER@]HOST:VOLUME, with a host that ssh knows");
        }
        let volume = volume.parse().map_err(|_| "what follows the colon is no name of a volume")?;
        Ok(Self { host: host.to_owned(), volume })
    }
}

impl FromStr for Remote {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write silt://HOST/VOLUME or silt://HOST:PORT/VOLUME; an IPv6 address in brackets";
        let (machine, volume) = text.split_once('/').ok_or(FORM)?;
        let volume = volume.parse().map_err(|_| "what follows the slash is no name of a volume")?;
        let (host, port) = match machine.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(FORM)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(FORM)?) })
            }
            None => machine.split_once(':').map_or((machine, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| FORM))?;
        if host.is_empty() { Err(FORM) } else { Ok(Self { host: host.to_owned(), port, volume }) }
    }
}

impl Ssh {
    /// What leads there.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        // Names of volumes need no quotes.
        command.args([&self.host, "silt", "recv", "--serve", self.volume.as_str()]);
        command
    }
}

impl Remote {
    pub(super) fn send(&self, global: &Global, request: &Request, files: &ClientTlsFiles) -> anyhow::Result<Exit> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tls = ClientTls::load(files, Arc::clone(&clock))?;
        let line = remote::connect((&self.host, self.port), &tls, &clock, &self.volume).map_err(explained)?;
        offer::run_over(global, request, line)
    }
}

/// With what to do about it.
fn explained(error: RemoteError) -> anyhow::Error {
    let (kind, advice) = match &error {
        RemoteError::Host(_) => (Kind::Invalid, "write silt://HOST/VOLUME"),
        RemoteError::Unreachable { .. } => (Kind::Unavailable, "is there a `silt serve --receive` at that address?"),
        RemoteError::Lost { .. } => (Kind::Unavailable, "it may have too many senders, or be stopping: try again"),
        _ => (Kind::Invalid, "--tls-ca has to certify the receiver by this name, and its --tls-client-ca this sender"),
    };
    anyhow::Error::new(error).context(Complaint::new(kind, advice))
}

/// Who a sender is, and whom it believes.
#[derive(Debug, clap::Args)]
pub(super) struct Certificates {
    /// With silt://: the authorities that certify the receiver, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// With silt://: the certificate to show, and those between it and a root, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// With silt://: the private key of --tls-cert, in PEM. Must not be readable by everybody.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl Certificates {
    pub(super) fn are_given(&self) -> bool {
        [&self.tls_ca, &self.tls_cert, &self.tls_key].into_iter().any(Option::is_some)
    }

    pub(super) fn files(&self) -> Result<ClientTlsFiles, Complaint> {
        match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (Some(authorities), Some(certificate), Some(key)) => Ok(ClientTlsFiles {
                authorities: authorities.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => {
                let message = "a receiver lets in nobody without a certificate: say --tls-ca, --tls-cert and --tls-key";
                Err(Complaint::new(Kind::Invalid, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_behind_ssh_are_hosts_and_volumes() {
        let place: Ssh = "me@[2001:db8::1]:vm".parse().unwrap();
        let arguments = place.command().get_args().map(|one| one.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(arguments, ["me@[2001:db8::1]", "silt", "recv", "--serve", "vm"]);
        for wrong in ["vm", ":vm", "-oProxyCommand=x:vm", "a b:vm", "host:", "host:vm@s", "host:VM;reboot"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_behind_daemons_are_uris() {
        let place = |text: &str| text.parse::<Place>();
        let remote =
            |host: &str, port| Ok(Place::Daemon(Remote { host: host.into(), port, volume: "vm".parse().unwrap() }));
        assert_eq!(place("silt://backup.example.net/vm"), remote("backup.example.net", 10810));
        assert_eq!(place("silt://127.0.0.1:99/vm"), remote("127.0.0.1", 99));
        assert_eq!(place("silt://[2001:db8::1]/vm"), remote("2001:db8::1", 10810));
        assert_eq!(place("silt://[2001:db8::1]:7/vm"), remote("2001:db8::1", 7));
        for wrong in
            ["", "host", "host/", "/vm", ":1/vm", "host:/vm", "host:70000/vm", "host/vm@s", "host/a/b", "[::1/vm"]
        {
            assert!(place(&format!("silt://{wrong}")).is_err(), "{wrong}");
        }
    }
}
