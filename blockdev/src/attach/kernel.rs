//! The kernel's NBD driver: finding it, and asking it to make, mend and remove devices.

use std::error::Error;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use neli::err::SerError;
use neli::genl::Genlmsghdr;
use neli::nl::NlPayload;
use neli::router::synchronous::{NlRouter, NlRouterReceiverHandle};
use neli::utils::Groups;

use super::device::{run, sysfs_attribute};
use super::error::{AttachError, Result};
use netlink::{Message, NbdCommand};

mod netlink;

pub(super) use netlink::Backend;

/// The driver, over one netlink socket.
pub(super) struct Driver {
    router: NlRouter,
    family: u16,
    events: NlRouterReceiverHandle<u16, Genlmsghdr<u8, u16>>,
}

impl Driver {
    /// Finds the driver, loading its module if there is one to load. Fails with [`AttachError::NoDriver`] if
    /// this kernel has none.
    pub(super) fn open() -> Result<Self> {
        let (router, events) = NlRouter::connect(NlFamily::Generic, None, Groups::empty())
            .map_err(|error| failed("reaching generic netlink", error))?;
        let mut family = router.resolve_genl_family(netlink::FAMILY);
        if family.is_err() && load_module() {
            family = router.resolve_genl_family(netlink::FAMILY);
        }
        match family {
            Ok(family) => Ok(Self { router, family, events }),
            Err(error) => {
                tracing::debug!(%error, "no family nbd");
                Err(AttachError::NoDriver("NBD driver in the kernel"))
            }
        }
    }

    /// Makes a device and returns its number.
    pub(super) fn connect(&self, backend: &Backend<'_>) -> Result<u32> {
        let answer = self.ask("making a device", netlink::connect(backend))?;
        let answer = answer.ok_or_else(|| failed("making a device", "no number in the answer"))?;
        netlink::decode_index(&answer).map_err(|error| failed("making a device", error))
    }

    /// Takes the device's backend away.
    pub(super) fn disconnect(&self, index: u32) -> Result<()> {
        self.ask("removing a device", netlink::disconnect(index)).map(drop)
    }

    /// Replaces dead sockets of a device.
    pub(super) fn reconfigure(&self, index: u32, identifier: &str, sockets: &[BorrowedFd<'_>]) -> Result<()> {
        self.ask("reconnecting a device", netlink::reconfigure(index, identifier, sockets)).map(drop)
    }

    /// True if the device has a backend.
    pub(super) fn is_connected(&self, index: u32) -> Result<bool> {
        let answer = self.ask("asking for a device", netlink::status(index))?;
        let answer = answer.ok_or_else(|| failed("asking for a device", "an empty answer"))?;
        let devices = netlink::decode_status(&answer).map_err(|error| failed("asking for a device", error))?;
        Ok(devices.contains(&(index, true)))
    }

    /// From now on [`Driver::next_dead_link`] hears of broken connections.
    pub(super) fn listen(&self) -> Result<()> {
        let group = self
            .router
            .resolve_nl_mcast_group(netlink::FAMILY, netlink::MULTICAST_GROUP)
            .map_err(|error| failed("listening", error))?;
        self.router.add_mcast_membership(Groups::new_groups(&[group])).map_err(|error| failed("listening", error))
    }

    /// Waits until a connection of some device breaks, and returns the device's number.
    pub(super) fn next_dead_link(&mut self) -> Result<u32> {
        loop {
            let event = self.events.next_typed::<u16, Message>();
            let event = event.ok_or_else(|| failed("listening", "netlink was closed"))?;
            let event = event.map_err(|error| failed("listening", error))?;
            let Some(message) = event.get_payload() else { continue };
            if *message.cmd() == NbdCommand::LinkDead {
                return netlink::decode_index(message).map_err(|error| failed("listening", error));
            }
        }
    }

    /// Sends a request and waits for its acknowledgement; returns the message that came before it, if any.
    fn ask(&self, action: &'static str, request: Result<Message, SerError>) -> Result<Option<Message>> {
        let request = request.map_err(|error| failed(action, error))?;
        let answers = self
            .router
            .send::<u16, Message, u16, Message>(self.family, NlmF::ACK, NlPayload::Payload(request))
            .map_err(|error| failed(action, error))?;
        let mut answer = None;
        for message in answers {
            let message = message.map_err(|error| failed(action, error))?;
            if let NlPayload::Payload(payload) = message.nl_payload() {
                answer = Some(payload.clone());
            }
        }
        Ok(answer)
    }
}

/// Node of device `index`.
pub(super) fn device_node(index: u32) -> PathBuf {
    PathBuf::from(format!("/dev/nbd{index}"))
}

/// Inverse of [`device_node`].
pub(super) fn device_index(device: &Path) -> Option<u32> {
    device.to_str()?.strip_prefix("/dev/nbd")?.parse().ok()
}

/// The device whose backend has this identifier, if there is one.
pub(super) fn device_of(identifier: &str) -> Option<PathBuf> {
    let blocks = fs::read_dir("/sys/block").ok()?;
    blocks
        .filter_map(|entry| Some(Path::new("/dev").join(entry.ok()?.file_name())))
        .find(|device| sysfs_attribute(device, "backend").is_some_and(|backend| backend == identifier))
}

/// Loads the module if the running kernel came with one.
fn load_module() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let known = fs::read_to_string(format!("/lib/modules/{release}/modules.dep"))
        .is_ok_and(|modules| modules.lines().any(|line| line.split(':').next().is_some_and(is_nbd_module)));
    known
        && run("modprobe", Command::new("modprobe").args(["--quiet", "nbd"]))
            .inspect_err(|error| tracing::warn!(%error, "the nbd module does not load"))
            .is_ok()
}

/// True for `kernel/drivers/block/nbd.ko`, compressed or not.
fn is_nbd_module(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|file| file == "nbd.ko" || file.starts_with("nbd.ko."))
}

fn failed(action: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> AttachError {
    AttachError::Netlink { action, source: source.into() }
}

#[cfg(test)]
mod tests;
