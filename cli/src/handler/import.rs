//! Takes a volume's content from whoever asked and writes it to a new volume.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use siltstone::cluster::{ClusterImport, NewVolume};
use siltstone::control::{Chunk, Failure, ImportVolume, Kind, Peer, Received, Response, Transferred};
use siltstone::name::VolumeName;
use siltstone::node::Import;
use siltstone::store::request::Write;
use siltstone::store::store::{VOLUME_BYTES_MAX, VolumeSpec};

use super::cluster::cluster_failure;
use super::{NodeHandler, failure, name};
use crate::image::zeros;

/// Chunks being written at once: fingerprinting and compressing a chunk costs more than receiving it.
const WRITERS: usize = 3;

/// What has come so far.
#[derive(Clone, Copy, Default)]
struct Content {
    /// The end of the last chunk, or of all.
    size_bytes: u64,
    data_bytes: u64,
}

impl NodeHandler {
    pub(super) fn import(&self, request: &ImportVolume, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let name: VolumeName = name(&request.name)?;
        // While nobody knows how much content will come, the volume is as large as can be.
        let size_bytes = request.size_bytes.unwrap_or(VOLUME_BYTES_MAX);
        let codec = self.codec(request.codec.as_deref())?;
        let target = match request.replicas {
            Some(replicas) => {
                self.check_not_of_node(&name)?;
                let new = NewVolume { name: name.clone(), size_bytes, codec, replicas };
                Target::Replicated(self.cluster()?.import(&new).map_err(cluster_failure)?)
            }
            None => {
                let import = self.node().import(&name, VolumeSpec { size_bytes, codec });
                Target::OfNode(import.map_err(failure)?)
            }
        };
        let (content, result) = receive_all(&target, peer);
        match result {
            Ok(()) => {}
            Err(broken) if !request.keep_partial => return Err(broken),
            Err(broken) => {
                target.finish(request.size_bytes.unwrap_or(content.size_bytes))?;
                return Err(Failure::new(broken.kind, format!("{}; what had come is kept", broken.message)));
            }
        }
        let size_bytes = target.finish(content.size_bytes)?;
        Ok(Response::Transferred(Transferred { name: name.to_string(), size_bytes, data_bytes: content.data_bytes }))
    }
}

/// The volume that the content goes to.
enum Target {
    OfNode(Import),
    Replicated(ClusterImport),
}

impl Target {
    fn write(&self, writes: &[Write<'_>]) -> siltstone::store::Result<()> {
        match self {
            Self::OfNode(import) => import.volume().write(writes),
            Self::Replicated(import) => import.write(writes),
        }
    }

    /// Opens the volume to everybody; its size in bytes.
    fn finish(self, size_bytes: u64) -> Result<u64, Failure> {
        match self {
            Self::OfNode(import) => Ok(import.finish(size_bytes).map_err(failure)?.info.size_bytes),
            Self::Replicated(import) => Ok(import.finish(size_bytes).map_err(cluster_failure)?.size_bytes),
        }
    }
}

/// Receives on this thread and writes on others.
fn receive_all(target: &Target, peer: &mut dyn Peer) -> (Content, Result<(), Failure>) {
    let mut content = Content::default();
    let broken = OnceLock::new();
    let (sender, receiver) = sync_channel(WRITERS);
    let receiver = Mutex::new(receiver);
    let received = thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| write_all(target, &receiver, &broken));
        }
        receive(peer, sender, &broken, &mut content)
    });
    (content, broken.into_inner().map_or(received, Err))
}

/// Hands chunks to the writers until the end or a failure. Taking `sender` by value tells them the end.
fn receive(
    peer: &mut dyn Peer,
    sender: SyncSender<Chunk>,
    broken: &OnceLock<Failure>,
    content: &mut Content,
) -> Result<(), Failure> {
    while broken.get().is_none() {
        match peer.receive()? {
            Received::Chunk(chunk) => {
                content.size_bytes = content.size_bytes.max(chunk.offset + chunk.data.len() as u64);
                content.data_bytes += chunk.data.len() as u64;
                sender.send(chunk).expect("the writers take chunks as long as there is a sender");
            }
            Received::End { size_bytes } if size_bytes < content.size_bytes => {
                return Err(Failure::new(Kind::Invalid, "the content is longer than its size"));
            }
            Received::End { size_bytes } => {
                content.size_bytes = size_bytes;
                break;
            }
        }
    }
    Ok(())
}

/// Writes chunks until there are no more. After a failure chunks are taken and dropped, so that the receiver, which may
/// be waiting to hand one over, comes to see it.
fn write_all(target: &Target, receiver: &Mutex<Receiver<Chunk>>, broken: &OnceLock<Failure>) {
    loop {
        let next = receiver.lock().expect("no writer panics while it takes a chunk").recv();
        let Ok(chunk) = next else { return };
        if broken.get().is_some() {
            continue;
        }
        if let Err(error) = write(target, &chunk) {
            // If another writer failed as well, its reason is as good.
            let _ = broken.set(failure(error.into()));
        }
    }
}

/// Writes what is not zeros: the volume is new, so it reads as zeros everywhere.
fn write(target: &Target, chunk: &Chunk) -> siltstone::store::Result<()> {
    let data = zeros::data_ranges(&chunk.data);
    let writes: Vec<_> = data
        .into_iter()
        .map(|range| Write { offset: chunk.offset + range.start as u64, data: &chunk.data[range] })
        .collect();
    if writes.is_empty() { Ok(()) } else { target.write(&writes) }
}
