//! Both ends of the control protocol for the fuzz target: each hears what a script made of a golden conversation.
//!
//! There is no node and no socket: an end reads from memory, and what it answers is dropped.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use net::control::{
    ChangedRange, Changes, Chunk, Client, ClusterDescription, Collect, Collected, CreateVolume, DamagedRange, Error,
    EventDescription, Failure, Handler, ImportVolume, Kind, MoveReplica, NodeAction, NodeDescription,
    OriginDescription, PackCold, Peer, Progress, ProgressDescription, Purge, ReceiveSnapshot, Received,
    ReceivedDescription, ReplicaDescription, ReplicationDescription, Request, ResizeVolume, Response, Rewind, Rewound,
    RootDescription, RotationDescription, Scrub, ScrubAction, ScrubDescription, ScrubbedVolume, SentDescription,
    SetVolume, SnapshotDescription, Transferred, Uris, VolumeDescription, serve,
};

/// Bytes of a chunk in the golden conversation.
const CHUNK_BYTES: usize = 300;

/// The requests of the golden conversation: every shape that there is.
fn requests() -> Vec<Request> {
    let name = || "vol".to_owned();
    vec![
        Request::Status,
        Request::List,
        Request::Info { name: name() },
        Request::Create(CreateVolume {
            name: name(),
            size_bytes: 1 << 30,
            codec: Some("zstd:3".into()),
            reuse: true,
            reserve_bytes: None,
            quota_bytes: Some(1 << 29),
            replicas: Some(3),
        }),
        Request::Resize(ResizeVolume { name: name(), size_bytes: u64::MAX, allow_shrink: true }),
        Request::Discard { name: name(), snapshots: true, keep_s: 604_800 },
        Request::Restore { name: name(), id: Some(7), to: Some("back".into()) },
        Request::Purge(Purge { expired: true, ..Purge::default() }),
        Request::Snapshot { names: vec!["vol@a".into(), "\u{1f980}@b".into()] },
        Request::ListSnapshots { volume: None, after: Some("vol".into()) },
        Request::Rewind(Rewind { name: name(), ago_s: Some(300), ..Rewind::default() }),
        Request::Set(SetVolume {
            name: name(),
            snap_every: Some("10s".into()),
            keep: Some("10s:1h".into()),
            reserve_bytes: Some(1 << 20),
            quota_bytes: None,
            allow: Some(vec!["backup".into()]),
            replicas: Some(2),
        }),
        Request::Usage { names: vec![name()], after: None },
        Request::Changes { from: "vol@a".into(), to: name(), offset: 4096 },
        Request::Uris { name: name() },
        Request::SetCapacity { capacity_bytes: None },
        Request::Collect(Collect { now: true, dry_run: false }),
        Request::PackCold(PackCold { all: true, dry_run: false, last_segment: Some(7) }),
        Request::Scrub(Scrub { action: ScrubAction::Start, rate_bytes: Some(1 << 20), every: Some("30d".into()) }),
        Request::ScrubVolume { name: name(), snapshots: true },
        Request::Import(ImportVolume {
            name: name(),
            size_bytes: Some(1 << 20),
            codec: None,
            keep_partial: true,
            replicas: Some(2),
        }),
        Request::Export { name: name() },
        Request::Root { name: name() },
        Request::Send { name: "vol@b".into(), from: Some("vol@a".into()) },
        Request::Receive(ReceiveSnapshot { name: name(), force: true, codec: Some("none".into()), replicas: Some(3) }),
        Request::Offer { name: "vol@b".into(), from: None },
        Request::Accept(ReceiveSnapshot { name: name(), ..ReceiveSnapshot::default() }),
        Request::RemoveReception { name: name() },
        Request::ClusterInit { name: None, zone: Some("left".into()) },
        Request::ClusterToken { validity_s: 3600 },
        Request::ClusterStatus,
        Request::ClusterSet { catch_up_rate_bytes: Some(1 << 20) },
        Request::ClusterRotateAuthority { cancel: false },
        Request::Events { since_s: Some(60) },
        Request::Node { name: "n2".into(), action: NodeAction::Drain },
        Request::MoveReplica(MoveReplica { volume: name(), from: Some("n1".into()), to: "n2".into() }),
    ]
}

fn event() -> EventDescription {
    EventDescription {
        at: "2026-11-26T07:00:00Z".into(),
        node: Some("n1".into()),
        kind: "node_joined".into(),
        subject: "n3".into(),
        text: "node n3 joined".into(),
    }
}

fn volume() -> VolumeDescription {
    VolumeDescription {
        name: "vol".into(),
        id: 1,
        size_bytes: 1 << 30,
        codec: "lz4".into(),
        created: "2026-11-26T07:15:00Z".into(),
        connections: 2,
        state: "ready".into(),
        snapshots: 1,
        origin: Some(OriginDescription { volume_id: 3, volume: None, snapshot_id: Some(4), snapshot: None }),
        schedule: None,
        reserve_bytes: Some(1 << 20),
        quota_bytes: None,
        allow: vec!["backup".into()],
        replication: Some(Box::new(replication())),
    }
}

fn replication() -> ReplicationDescription {
    let progress = ProgressDescription { done_bytes: 1, total_bytes: 2, rate_bytes: Some(3), left_s: None };
    let replica = ReplicaDescription {
        node: 1,
        node_name: "n1".into(),
        role: "primary".into(),
        reachable: true,
        progress: Some(progress),
    };
    ReplicationDescription {
        replicas_wanted: 3,
        in_sync_min: 2,
        epoch: 7,
        replicas: vec![replica],
        health: "degraded".into(),
        doing: Some("copying".into()),
    }
}

fn cluster() -> ClusterDescription {
    let node = NodeDescription {
        id: 1,
        name: "n1".into(),
        addresses: vec!["10.0.0.1:10809".into()],
        standing: "member".into(),
        trouble: Some("timed out".into()),
        ..NodeDescription::default()
    };
    ClusterDescription {
        cluster: "c0ffee".into(),
        here: 1,
        leader: Some(1),
        nodes: vec![node],
        volumes: vec![volume()],
        rotation: Some(RotationDescription { stage: "trusting".into(), awaited: vec!["n2".into()] }),
    }
}

fn snapshot() -> SnapshotDescription {
    SnapshotDescription {
        name: "vol@a".into(),
        volume: "vol".into(),
        id: 2,
        size_bytes: 1 << 30,
        created: "2026-11-26T07:15:00Z".into(),
        connections: 0,
        frees_bytes: Some(4096),
    }
}

/// Answers every request with what an answer to it may look like.
struct Obliging;

impl Handler for Obliging {
    fn handle(&self, request: &Request, peer: &mut dyn Peer) -> Result<Response, Failure> {
        Ok(match request {
            Request::Info { .. } | Request::Create(_) | Request::Set(_) => Response::Volume(volume()),
            Request::List => Response::Volumes { volumes: vec![volume(), volume()] },
            Request::Snapshot { .. } | Request::ListSnapshots { .. } => {
                Response::Snapshots { snapshots: vec![snapshot(), snapshot()], next: Some("vol".into()) }
            }
            Request::Rewind(_) => {
                let (to, before) = ("vol@a".into(), Some("vol@rewind".into()));
                Response::Rewound(Box::new(Rewound { volume: volume(), to, before }))
            }
            Request::Uris { name } => {
                Response::Uris(Uris { name: name.clone(), running: true, uris: vec![name.clone()] })
            }
            Request::Changes { .. } => {
                let extents = vec![ChangedRange { offset: 4096, length: 8192 }];
                let (from_size_bytes, to_size_bytes) = (1 << 30, 1 << 31);
                let next_offset = Some(1 << 20);
                Response::Changes(Changes {
                    from_id: 2,
                    to_id: 1,
                    from_size_bytes,
                    to_size_bytes,
                    extents,
                    next_offset,
                })
            }
            Request::Collect(_) => {
                Response::Collected(Collected { segments: 3, segment_bytes: 96 << 20, relocated_bytes: 1 << 20 })
            }
            Request::Import(import) => loop {
                if let Received::End { size_bytes } = peer.receive()? {
                    return Ok(Response::Transferred(Transferred {
                        name: import.name.clone(),
                        size_bytes,
                        data_bytes: 0,
                    }));
                }
            },
            Request::Export { name } => {
                peer.progress(&Progress { done: 1, total: Some(2), what: "exporting".into() })?;
                peer.send(1 << 40, &[7; CHUNK_BYTES])?;
                Response::Transferred(Transferred { name: name.clone(), size_bytes: 1 << 30, data_bytes: 300 })
            }
            Request::Root { name } => Response::Root(RootDescription {
                name: name.clone(),
                id: Some(1),
                size_bytes: 1 << 30,
                data_bytes: 1 << 20,
                domain: 0,
                root: "00".repeat(32),
            }),
            Request::Send { name, from } => {
                peer.send(0, &[7; CHUNK_BYTES])?;
                Response::Sent(sent(name, from.as_deref()))
            }
            Request::Offer { name, from } => {
                for _ in 0..3 {
                    peer.send(0, &[7; CHUNK_BYTES])?;
                    peer.receive()?;
                }
                Response::Sent(sent(name, from.as_deref()))
            }
            Request::Receive(receive) | Request::Accept(receive) => loop {
                if let Received::End { size_bytes } = peer.receive()? {
                    return Ok(Response::Received(received(&receive.name, size_bytes)));
                }
            },
            Request::Scrub(_) => {
                Response::Scrub(Box::new(ScrubDescription { state: "running".into(), ..Default::default() }))
            }
            Request::ScrubVolume { name, .. } => {
                let range = DamagedRange { offset: 0, length: 4096, what: "rot".into(), file: "segments/1".into() };
                let (name, damage) = (name.clone(), vec![range]);
                Response::ScrubbedVolumes {
                    volumes: vec![ScrubbedVolume { name, blocks_good: 1, blocks_damaged: 1, damage }],
                }
            }
            Request::ClusterInit { .. } | Request::ClusterStatus | Request::ClusterRotateAuthority { .. } => {
                Response::Cluster(Box::new(cluster()))
            }
            Request::ClusterToken { .. } => Response::Token { token: "silt1-token".into() },
            Request::Events { .. } => Response::Events { events: vec![event()], silent: vec!["n2".into()] },
            Request::MoveReplica(_) => Response::Volume(volume()),
            Request::Status => return Err(Failure::new(Kind::Poisoned, "the store has stopped")),
            _ => Response::Done,
        })
    }
}

fn sent(name: &str, from: Option<&str>) -> SentDescription {
    SentDescription {
        name: name.into(),
        from: from.map(Into::into),
        size_bytes: 1 << 30,
        data_bytes: 4096,
        had_bytes: 8192,
        stream_bytes: 300,
        root: "11".repeat(32),
    }
}

fn received(name: &str, size_bytes: u64) -> ReceivedDescription {
    let (name, root) = (name.into(), "22".repeat(32));
    ReceivedDescription { name, id: 9, from: None, size_bytes, data_bytes: 0, had_bytes: 0, root }
}

/// Gives a few chunks, and takes all that comes.
#[derive(Default)]
struct Chunks(u64);

impl Peer for Chunks {
    fn progress(&mut self, _: &Progress) -> Result<(), Error> {
        Ok(())
    }

    fn send(&mut self, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, Error> {
        self.0 += 1;
        Ok(match self.0 {
            1..=3 => Received::Chunk(Chunk { offset: self.0 << 20, data: vec![self.0 as u8; CHUNK_BYTES] }),
            _ => Received::End { size_bytes: 1 << 24 },
        })
    }
}

/// A stream that notes what is written to it.
struct Noted {
    stream: UnixStream,
    said: Vec<u8>,
}

impl Read for &mut Noted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}

impl Write for &mut Noted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(buf)?;
        self.said.extend_from_slice(&buf[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What both ends said in a conversation that goes well.
pub struct Conversation {
    /// The client's bytes.
    pub client: Vec<u8>,
    /// The node's bytes.
    pub node: Vec<u8>,
}

impl Conversation {
    /// Holds it.
    ///
    /// # Errors
    /// If one end does not understand the other: a bug to find by other tests.
    pub fn hold() -> Result<Self, Error> {
        let (ours, theirs) = UnixStream::pair()?;
        let (mut ours, mut theirs) =
            (Noted { stream: ours, said: Vec::new() }, Noted { stream: theirs, said: Vec::new() });
        std::thread::scope(|scope| {
            let node = scope.spawn(|| serve(&mut theirs, &Obliging, "silt 0.1.0", 42));
            let asked = ask(&mut ours);
            let hung_up = ours.stream.shutdown(std::net::Shutdown::Both);
            let served = node.join().map_err(|_| io::Error::other("the node panicked"))?;
            asked.and(served).and(Ok(hung_up?))
        })?;
        Ok(Self { client: ours.said, node: theirs.said })
    }
}

/// Asks everything there is to ask; what a node refuses is an answer.
fn ask(stream: impl Read + Write) -> Result<(), Error> {
    let mut client = Client::connect(stream, "fuzz 0.1.0")?;
    for request in requests() {
        match client.call(&request, &mut Chunks::default()) {
            Ok(_) | Err(Error::Failed(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A stream on which the other end has said everything it will ever say, and listens to nothing.
struct Said<'a>(&'a [u8]);

impl Read for Said<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Said<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A node hears `bytes` from a client.
///
/// # Errors
/// If they are not what a client says.
pub fn say_to_node(bytes: &[u8]) -> Result<(), Error> {
    serve(Said(bytes), &Obliging, "silt 0.1.0", 42)
}

/// A client hears `bytes` from a node.
///
/// # Errors
/// If they are not what a node says.
pub fn say_to_client(bytes: &[u8]) -> Result<(), Error> {
    ask(Said(bytes))
}

#[cfg(test)]
mod tests;
