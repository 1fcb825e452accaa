//! The messages of the kernel's NBD driver over generic netlink: family `nbd`, version 1
//! (`include/uapi/linux/nbd-netlink.h` and `drivers/block/nbd.c` of Linux). Pure: attributes in, attributes out.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use neli::consts::genl::{Cmd, NlAttrType};
use neli::err::{DeError, SerError};
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder};
use neli::neli_enum;
use neli::types::{Buffer, GenlBuffer};
use neli::{Size, ToBytes};

use crate::attach::device::LOGICAL_BLOCK_BYTES;

/// Name of the generic netlink family.
pub(super) const FAMILY: &str = "nbd";

/// Version of the family's messages.
const VERSION: u8 = 1;

/// Multicast group on which the driver tells of broken connections.
pub(super) const MULTICAST_GROUP: &str = "nbd_mc_group";

/// Commands.
#[neli_enum(serialized_type = "u8")]
pub(super) enum NbdCommand {
    Unspecified = 0,
    Connect = 1,
    Disconnect = 2,
    Reconfigure = 3,
    LinkDead = 4,
    Status = 5,
}
impl Cmd for NbdCommand {}

/// Attributes of a message.
#[neli_enum(serialized_type = "u16")]
pub(super) enum NbdAttribute {
    Unspecified = 0,
    Index = 1,
    SizeBytes = 2,
    BlockSizeBytes = 3,
    TimeoutSeconds = 4,
    ServerFlags = 5,
    ClientFlags = 6,
    Sockets = 7,
    DeadConnectionTimeoutSeconds = 8,
    DeviceList = 9,
    BackendIdentifier = 10,
}
impl NlAttrType for NbdAttribute {}

/// Elements of [`NbdAttribute::Sockets`].
#[neli_enum(serialized_type = "u16")]
pub(super) enum SocketItem {
    Unspecified = 0,
    Item = 1,
}
impl NlAttrType for SocketItem {}

/// Attributes of a [`SocketItem::Item`].
#[neli_enum(serialized_type = "u16")]
pub(super) enum SocketAttribute {
    Unspecified = 0,
    Fd = 1,
}
impl NlAttrType for SocketAttribute {}

/// Elements of [`NbdAttribute::DeviceList`].
#[neli_enum(serialized_type = "u16")]
pub(super) enum DeviceItem {
    Unspecified = 0,
    Item = 1,
}
impl NlAttrType for DeviceItem {}

/// Attributes of a [`DeviceItem::Item`].
#[neli_enum(serialized_type = "u16")]
pub(super) enum DeviceAttribute {
    Unspecified = 0,
    Index = 1,
    Connected = 2,
}
impl NlAttrType for DeviceAttribute {}

/// A message of the family, without netlink's own header.
pub(super) type Message = Genlmsghdr<NbdCommand, NbdAttribute>;

/// What a device is to be made of.
#[derive(Debug)]
pub(in crate::attach) struct Backend<'a> {
    /// Shown in sysfs, and demanded by the driver before it lets anybody exchange the sockets.
    pub(in crate::attach) identifier: &'a str,
    /// Connected, past the NBD handshake.
    pub(in crate::attach) sockets: &'a [BorrowedFd<'a>],
    pub(in crate::attach) size_bytes: u64,
    /// NBD's transmission flags, as the server sent them.
    pub(in crate::attach) server_flags: u16,
    /// How long requests wait for new sockets when all are dead.
    pub(in crate::attach) dead_timeout: Duration,
}

/// With several connections the driver sends a request that is late again on another one, and the late one may yet be carried
/// out after newer writes. So "late" is an hour; a daemon that died closes its sockets, which the driver sees at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// CONNECT: makes a device with the first free number.
///
/// With one connection TIMEOUT is 0, which makes the driver wait for late answers and warn. CLIENT_FLAGS is 0: the device
/// outlives its connections and its last user (neither DISCONNECT_ON_CLOSE nor DESTROY_ON_DISCONNECT).
pub(super) fn connect(backend: &Backend<'_>) -> Result<Message, SerError> {
    let timeout = if backend.sockets.len() > 1 { REQUEST_TIMEOUT } else { Duration::ZERO };
    message(
        NbdCommand::Connect,
        [
            attribute(NbdAttribute::SizeBytes, backend.size_bytes)?,
            attribute(NbdAttribute::BlockSizeBytes, LOGICAL_BLOCK_BYTES)?,
            attribute(NbdAttribute::TimeoutSeconds, timeout.as_secs())?,
            attribute(NbdAttribute::ServerFlags, u64::from(backend.server_flags))?,
            attribute(NbdAttribute::ClientFlags, 0u64)?,
            sockets(backend.sockets)?,
            attribute(NbdAttribute::DeadConnectionTimeoutSeconds, backend.dead_timeout.as_secs())?,
            attribute(NbdAttribute::BackendIdentifier, backend.identifier)?,
        ],
    )
}

/// DISCONNECT: removes the device's backend; its further I/O fails.
pub(super) fn disconnect(index: u32) -> Result<Message, SerError> {
    message(NbdCommand::Disconnect, [attribute(NbdAttribute::Index, index)?])
}

/// RECONFIGURE: puts new sockets in the place of dead ones.
pub(super) fn reconfigure(index: u32, identifier: &str, fds: &[BorrowedFd<'_>]) -> Result<Message, SerError> {
    message(
        NbdCommand::Reconfigure,
        [
            attribute(NbdAttribute::Index, index)?,
            attribute(NbdAttribute::BackendIdentifier, identifier)?,
            sockets(fds)?,
        ],
    )
}

/// STATUS of one device.
pub(super) fn status(index: u32) -> Result<Message, SerError> {
    message(NbdCommand::Status, [attribute(NbdAttribute::Index, index)?])
}

/// The device number in an answer to CONNECT or in a LINK_DEAD.
pub(super) fn decode_index(message: &Message) -> Result<u32, DeError> {
    message.attrs().get_attr_handle().get_attr_payload_as(NbdAttribute::Index)
}

/// The devices in an answer to STATUS, each with whether it has a backend.
pub(super) fn decode_status(message: &Message) -> Result<Vec<(u32, bool)>, DeError> {
    let attributes = message.attrs().get_attr_handle();
    let items = attributes.get_nested_attributes::<DeviceItem>(NbdAttribute::DeviceList)?;
    let decode = |item: &Nlattr<DeviceItem, Buffer>| {
        let device = item.get_attr_handle::<DeviceAttribute>()?;
        let connected: u8 = device.get_attr_payload_as(DeviceAttribute::Connected)?;
        Ok((device.get_attr_payload_as(DeviceAttribute::Index)?, connected != 0))
    };
    items.iter().map(decode).collect()
}

fn sockets(fds: &[BorrowedFd<'_>]) -> Result<Nlattr<NbdAttribute, Buffer>, SerError> {
    fds.iter().try_fold(attribute(NbdAttribute::Sockets, Vec::<u8>::new())?, |list, fd| {
        // File descriptors are never negative.
        let fd = attribute(SocketAttribute::Fd, fd.as_raw_fd().cast_unsigned())?;
        list.nest(&attribute(SocketItem::Item, Vec::<u8>::new())?.nest(&fd)?)
    })
}

fn attribute<T: NlAttrType, P: Size + ToBytes>(kind: T, payload: P) -> Result<Nlattr<T, Buffer>, SerError> {
    let nla_type = AttrTypeBuilder::default().nla_type(kind).build().map_err(|e| SerError::new(e.to_string()))?;
    NlattrBuilder::default()
        .nla_type(nla_type)
        .nla_payload(payload)
        .build()
        .map_err(|error| SerError::new(error.to_string()))
}

fn message<const N: usize>(
    command: NbdCommand,
    attributes: [Nlattr<NbdAttribute, Buffer>; N],
) -> Result<Message, SerError> {
    GenlmsghdrBuilder::default()
        .cmd(command)
        .version(VERSION)
        .attrs(attributes.into_iter().collect::<GenlBuffer<_, _>>())
        .build()
        .map_err(|error| SerError::new(error.to_string()))
}

#[cfg(test)]
mod tests;
