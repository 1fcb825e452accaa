//! The control protocol: how a tool asks a node to create, list, import, ... volumes.
//!
//! Specified in `docs/protocol.md`. It runs over any reliable byte stream (a Unix socket now, a QUIC stream later) in
//! blocking calls: a [`Client`] at one end, [`serve`] at the other. What a request *does* is behind [`Handler`], which
//! a tool can also call without any stream in between: that is how commands work on a stopped store.
//!
//! Invariants: one request at a time; every request ends in exactly one answer; nothing a peer sends makes this side
//! panic, or hold more than one frame of the size limit in memory.

mod client;
mod cluster;
mod connection;
mod error;
mod frame;
mod hello;
mod objects;
mod peer;
mod request;
mod response;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, Event};
pub use cluster::{
    ClusterDescription, ClusterSummary, EventDescription, MoveReplica, NodeAction, NodeDescription,
    ProgressDescription, ReplicaDescription, ReplicationDescription, RotationDescription,
};
pub use error::{Error, Failure, Kind};
pub use frame::{DATA_BYTES_MAX, MESSAGE_BYTES_MAX};
pub use hello::{Hello, VERSION, Versions, Welcome};
pub use objects::{ObjectDescription, Objects, PutObject, Upload, UploadDescription};
pub use peer::{Chunk, Handler, NoTransfer, Peer, Progress, Received};
pub use request::{
    Collect, CreateVolume, FINGERPRINTS_MAX, ImportVolume, PackCold, Purge, ReceiveSnapshot, Request, ResizeVolume,
    Rewind, Scrub, ScrubAction, SetVolume,
};
pub use response::{
    ChangedRange, Changes, Collected, Counters, DamageDescription, DamagedRange, FingerprintPage, NodeStatus,
    NodeUsage, ObjectsUsage, OperationCounters, OriginDescription, Packed, ReceivedDescription, ReceptionDescription,
    Response, Rewound, RootDescription, ScheduleDescription, ScrubDescription, ScrubbedVolume, SentDescription,
    SnapshotDescription, SpaceStatus, StoreStatus, TouchedDescription, Transferred, TrashDescription, Uris, Usage,
    VolumeCounters, VolumeDescription, VolumeUsage,
};
pub use server::{refuse, serve};
