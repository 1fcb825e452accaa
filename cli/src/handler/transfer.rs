//! Roots, and snapshots as streams.

use std::ops::ControlFlow;
use std::sync::Arc;

use siltstone::catalog::ReceptionEntry;
use siltstone::cluster::{ClusterReceived, ClusterReceiver};
use siltstone::control::{
    DATA_BYTES_MAX, Error, Failure, Kind, Peer, Progress, ReceiveSnapshot, Received, ReceivedDescription,
    ReceptionDescription, Response, RootDescription, SentDescription,
};
use siltstone::name::{ExportName, SnapshotName, VolumeName};
use siltstone::store::id::BLOCK_BYTES;
use siltstone::transfer::{self, Outlet, ReceiveOptions, Receiver, Result as TransferResult, Source, TransferError};

use super::cluster::cluster_failure;
use super::{NodeHandler, failure, name};
use crate::exit::kind_of;
use crate::output::rfc3339;

/// Progress is told when it has come so far since the last time.
const PROGRESS_BYTES: u64 = 64 << 20;

impl NodeHandler {
    pub(super) fn root(&self, text: &str, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let name: ExportName = name(text)?;
        let mut teller = Teller::new(peer);
        let source = match &name {
            ExportName::Snapshot(snapshot) => Some(self.source(snapshot, None)?),
            ExportName::Volume(_) => None,
        };
        let mut watch = |done, total| teller.watch("reading the map", done, total);
        let rooted = match source {
            Some(source) => source.root(&mut watch),
            None => self.node().root(&name, &mut watch),
        };
        let rooted = teller.settle(rooted)?;
        Ok(Response::Root(RootDescription {
            name: name.to_string(),
            id: Some(rooted.id.0),
            size_bytes: rooted.size_bytes,
            data_bytes: bytes(rooted.data_blocks),
            domain: rooted.root.domain,
            root: rooted.root.to_string(),
        }))
    }

    pub(super) fn send(&self, text: &str, from: Option<&str>, peer: &mut dyn Peer) -> Result<Response, Failure> {
        self.send_by(Source::send, text, from, peer)
    }

    pub(super) fn offer(&self, text: &str, from: Option<&str>, peer: &mut dyn Peer) -> Result<Response, Failure> {
        self.send_by(Source::offer, text, from, peer)
    }

    fn send_by(&self, send: Sending, text: &str, from: Option<&str>, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let name: SnapshotName = name(text)?;
        let from: Option<SnapshotName> = from.map(super::name).transpose()?;
        let source = self.source(&name, from.as_ref())?;
        let mut stream = Stream::new(peer);
        let sent = send(&source, &mut stream);
        let sent = stream.teller.settle(sent)?;
        Ok(Response::Sent(SentDescription {
            name: name.to_string(),
            from: from.map(|from| from.to_string()),
            size_bytes: sent.snapshot.info.size_bytes,
            data_bytes: bytes(sent.data_blocks),
            had_bytes: bytes(sent.had_blocks),
            stream_bytes: sent.stream_bytes,
            root: sent.root.to_string(),
        }))
    }

    /// A snapshot that this node holds, of a volume of its own or of the cluster's.
    pub(super) fn source(&self, name: &SnapshotName, base: Option<&SnapshotName>) -> Result<Source, Failure> {
        match self.replicated(&name.volume)? {
            Some(replicated) => replicated.cluster.source(name, base).map_err(cluster_failure),
            None => Source::of_node(self.node(), name, base).map_err(transfer_failure),
        }
    }

    pub(super) fn receive(&self, request: &ReceiveSnapshot, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let (name, options) = self.wishes(request)?;
        let landing = match request.replicas {
            Some(replicas) => {
                self.check_not_of_node(&name)?;
                Landing::Replicated(ClusterReceiver::new(self.cluster()?, name, options.codec, replicas))
            }
            None => match self.replicated(&name)? {
                Some(of) => Landing::Replicated(ClusterReceiver::into_volume(of.cluster, name, options.force)),
                None => Landing::OfNode(Receiver::new(Arc::clone(self.node()), name, options)),
            },
        };
        receive_all(landing, peer)
    }

    pub(super) fn accept(&self, request: &ReceiveSnapshot, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let (name, options) = self.wishes(request)?;
        if request.replicas.is_some() {
            let message =
                "an exchange goes into a volume of one node: without --serve a stream becomes a replicated one";
            return Err(Failure::new(Kind::Unsupported, message));
        }
        let mut stream = Stream::new(peer);
        let received = transfer::accept(Arc::clone(self.node()), name, options, &mut stream);
        stream.teller.settle(received).map(answer)
    }

    pub(super) fn remove_reception(&self, text: &str) -> Result<Response, Failure> {
        self.node().remove_reception(&name(text)?).map_err(failure)?;
        Ok(Response::Done)
    }

    /// What has not come to its end, or was broken off.
    pub(super) fn receptions(&self) -> Vec<ReceptionDescription> {
        let describe = |(name, entry): (VolumeName, ReceptionEntry)| ReceptionDescription {
            name: name.to_string(),
            size_bytes: entry.size_bytes,
            began: rfc3339(entry.began_ms),
            expires: rfc3339(entry.expires_ms),
        };
        self.node().receptions().into_iter().map(describe).collect()
    }

    fn wishes(&self, request: &ReceiveSnapshot) -> Result<(VolumeName, ReceiveOptions), Failure> {
        let options = ReceiveOptions { codec: self.codec(request.codec.as_deref())?, force: request.force };
        Ok((name(&request.name)?, options))
    }
}

type Sending = fn(&Source, &mut dyn Outlet) -> TransferResult<transfer::Sent>;

fn answer(received: transfer::Received) -> Response {
    let snapshot = received.snapshot;
    let from = received.base.map(|base| SnapshotName { volume: snapshot.name.volume.clone(), snapshot: base });
    Response::Received(ReceivedDescription {
        name: snapshot.name.to_string(),
        id: snapshot.info.id.0,
        from: from.map(|from| from.to_string()),
        size_bytes: snapshot.info.size_bytes,
        data_bytes: bytes(received.data_blocks),
        had_bytes: bytes(received.had_blocks),
        root: received.root.to_string(),
    })
}

fn cluster_answer(received: ClusterReceived) -> Response {
    let name = received.snapshot.name;
    let from = received.base.map(|base| SnapshotName { volume: name.volume.clone(), snapshot: base });
    Response::Received(ReceivedDescription {
        name: name.to_string(),
        id: 0,
        from: from.map(|from| from.to_string()),
        size_bytes: received.snapshot.size_bytes,
        data_bytes: bytes(received.data_blocks),
        had_bytes: 0,
        root: received.root.to_string(),
    })
}

/// Where a stream goes.
enum Landing {
    OfNode(Receiver),
    Replicated(ClusterReceiver),
}

impl Landing {
    fn push(&mut self, data: &[u8], teller: &mut Teller<'_>) -> Result<(), Failure> {
        let mut watch = |done, total| teller.watch("proving the base", done, total);
        match self {
            Self::OfNode(receiver) => {
                let pushed = receiver.push(data, &mut watch);
                teller.settle(pushed)
            }
            Self::Replicated(receiver) => {
                let pushed = receiver.push(data, &mut watch);
                teller.settle_by(pushed, cluster_failure)
            }
        }
    }

    fn size_bytes(&self) -> Option<u64> {
        match self {
            Self::OfNode(receiver) => receiver.size_bytes(),
            Self::Replicated(receiver) => receiver.size_bytes(),
        }
    }

    fn position_bytes(&self) -> u64 {
        match self {
            Self::OfNode(receiver) => receiver.position_bytes(),
            Self::Replicated(receiver) => receiver.position_bytes(),
        }
    }

    fn finish(self, teller: &mut Teller<'_>) -> Result<Response, Failure> {
        let mut watch = |done, total| teller.watch("proving the root", done, total);
        match self {
            Self::OfNode(receiver) => {
                let received = receiver.finish(&mut watch);
                teller.settle(received).map(answer)
            }
            Self::Replicated(receiver) => {
                let received = receiver.finish(&mut watch);
                teller.settle_by(received, cluster_failure).map(cluster_answer)
            }
        }
    }
}

fn receive_all(mut landing: Landing, peer: &mut dyn Peer) -> Result<Response, Failure> {
    let (mut position, mut told) = (0, 0);
    loop {
        match peer.receive()? {
            Received::Chunk(chunk) if chunk.offset != position => {
                return Err(Failure::new(Kind::Protocol, "the pieces of a stream do not follow each other"));
            }
            Received::Chunk(chunk) => {
                position += chunk.data.len() as u64;
                let mut teller = Teller { told, ..Teller::new(peer) };
                landing.push(&chunk.data, &mut teller)?;
                if let Some(size) = landing.size_bytes() {
                    let told_now = teller.tell("receiving", landing.position_bytes(), size);
                    told = teller.told;
                    told_now?;
                }
            }
            Received::End { .. } => return landing.finish(&mut Teller::new(peer)),
        }
    }
}

fn bytes(blocks: u64) -> u64 {
    blocks * BLOCK_BYTES as u64
}

/// Tells who asked how far it has come, now and then.
struct Teller<'p> {
    peer: &'p mut dyn Peer,
    told: u64,
    /// Why nobody listens any more.
    gone: Option<Error>,
}

impl<'p> Teller<'p> {
    fn new(peer: &'p mut dyn Peer) -> Self {
        Self { peer, told: 0, gone: None }
    }

    fn tell(&mut self, what: &str, done: u64, total: u64) -> Result<(), Error> {
        if done < self.told {
            // Something else began.
            self.told = 0;
        }
        if done - self.told < PROGRESS_BYTES && done < total {
            return Ok(());
        }
        self.told = done;
        self.peer.progress(&Progress { done, total: Some(total), what: what.into() })
    }

    fn watch(&mut self, what: &str, done: u64, total: u64) -> ControlFlow<()> {
        match self.tell(what, done, total) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.gone = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// The result as it travels; if nobody listens any more, why.
    fn settle<T>(&mut self, result: TransferResult<T>) -> Result<T, Failure> {
        self.settle_by(result, transfer_failure)
    }

    fn settle_by<T, E>(&mut self, result: Result<T, E>, failure: impl Fn(E) -> Failure) -> Result<T, Failure> {
        match self.gone.take() {
            Some(error) => Err(error.into()),
            None => result.map_err(failure),
        }
    }
}

/// A stream on its way to who asked, and what comes back.
struct Stream<'p> {
    teller: Teller<'p>,
    offset: u64,
    /// Bytes that came back.
    heard: u64,
}

impl<'p> Stream<'p> {
    fn new(peer: &'p mut dyn Peer) -> Self {
        Self { teller: Teller::new(peer), offset: 0, heard: 0 }
    }

    /// What the peer gave; if it is gone, the transfer is to stop.
    fn note<T>(&mut self, given: Result<T, Error>) -> TransferResult<T> {
        given.map_err(|error| {
            self.teller.gone = Some(error);
            TransferError::Stopped
        })
    }
}

impl Outlet for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> TransferResult<()> {
        for piece in bytes.chunks(DATA_BYTES_MAX) {
            let sent = self.teller.peer.send(self.offset, piece);
            self.note(sent)?;
            self.offset += piece.len() as u64;
        }
        Ok(())
    }

    fn read(&mut self) -> TransferResult<Vec<u8>> {
        let given = self.teller.peer.receive();
        match self.note(given)? {
            Received::Chunk(chunk) if chunk.offset == self.heard => {
                self.heard += chunk.data.len() as u64;
                Ok(chunk.data)
            }
            Received::Chunk(_) => {
                let why = "the pieces of a conversation do not follow each other";
                self.note(Err(Failure::new(Kind::Protocol, why).into()))
            }
            Received::End { .. } => Ok(Vec::new()),
        }
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) -> TransferResult<()> {
        if self.teller.watch(what, done, total).is_break() { Err(TransferError::Stopped) } else { Ok(()) }
    }
}

/// A transfer's error as it travels, with what the user can do.
pub(super) fn transfer_failure(error: TransferError) -> Failure {
    match error {
        TransferError::Node(error) => failure(error),
        error => {
            let mut failure = Failure::from_chain(kind_of(error.kind()), &error);
            if matches!(error, TransferError::Changed { .. }) {
                failure.message.push_str(" (--force permits it)");
            }
            failure
        }
    }
}
