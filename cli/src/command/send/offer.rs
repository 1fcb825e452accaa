//! Sending to a receiver that answers, at the other end of a command's stdin and stdout.

use std::process::Command;
use std::str::FromStr;

use siltstone::control::{Request, Response};
use siltstone::name::VolumeName;

use crate::args::Global;
use crate::backend;
use crate::conversation::Other;
use crate::data_dir::Access;
use crate::exit::Exit;
use crate::output::Output;
use crate::progress;
use crate::size;

/// A volume on another machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    host: String,
    volume: VolumeName,
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, volume) = text.rsplit_once(':').ok_or("write [USER@]HOST:VOLUME")?;
        // It must not be taken for an option of ssh.
        if host.is_empty() || host.starts_with('-') || host.contains(char::is_whitespace) {
            return Err("write [USER@]HOST:VOLUME, with a host that ssh knows");
        }
        let volume = volume.parse().map_err(|_| "what follows the colon is no name of a volume")?;
        Ok(Self { host: host.to_owned(), volume })
    }
}

impl Place {
    /// What leads there.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        // Names of volumes need no quotes.
        command.args([&self.host, "silt", "recv", "--serve", self.volume.as_str()]);
        command
    }
}

/// What the user says leads there.
pub(super) fn shell(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    command
}

pub(super) fn run(global: &Global, request: Request, command: Command) -> anyhow::Result<Exit> {
    let mut other = Other::start(command, progress::bytes(global, "sending", Some(0)))?;
    let answer = backend::transfer(global, Access::Read, &request, &mut other.conversation);
    other.conversation.bar.finish_and_clear();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(explained(error, other)),
    };
    // It has said that it has everything: how it ends is its own affair.
    other.hang_up()?;
    match answer {
        Response::Sent(sent) => {
            let [moved, had] = [sent.stream_bytes, sent.had_bytes].map(size::human);
            let text = || format!("sent {} in {moved}, {had} were there, root {}", sent.name, sent.root);
            Output::new(global).done(&sent, text)?;
            Ok(Exit::Ok)
        }
        other => Err(backend::unexpected(&other)),
    }
}

/// Says of a command that ended how it did.
fn explained(error: anyhow::Error, other: Other) -> anyhow::Error {
    let has_ended = other.conversation.has_ended();
    // Whoever has spoken hears that nobody does any more, and has to tidy up.
    if !has_ended && !other.conversation.has_spoken() {
        return match other.stop() {
            Ok(()) => error,
            Err(also) => error.context(format!("the command that leads to the receiver cannot be ended: {also}")),
        };
    }
    match other.hang_up() {
        Ok(status) if has_ended && !status.success() => {
            error.context(format!("the command that leads to the receiver ended: {status}"))
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_hosts_and_volumes() {
        let place: Place = "me@[2001:db8::1]:vm".parse().unwrap();
        let arguments = place.command().get_args().map(|one| one.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(arguments, ["me@[2001:db8::1]", "silt", "recv", "--serve", "vm"]);
        for wrong in ["vm", ":vm", "-oProxyCommand=x:vm", "a b:vm", "host:", "host:vm@s", "host:VM;reboot"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
