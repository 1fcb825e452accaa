//! Objects: their content in both directions, and what is known of them.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use siltstone::catalog::UploadEntry;
use siltstone::control::{
    Chunk, Failure, Kind, ObjectDescription, Objects, Peer, PutObject, Received, Response, Transferred, Upload,
    UploadDescription,
};
use siltstone::name::ObjectName;
use siltstone::node::{NamedObject, NodeError, ObjectSpec, ObjectWriter};
use siltstone::object::{Chunker, Metadata};
use siltstone::span::Span;
use siltstone::store::codec::{Codec, ZstdLevel};
use siltstone::store::fingerprint::is_zero;

use super::{NodeHandler, failure, name};
use crate::output::rfc3339;

/// Objects on one page of a list, which fits in a message whatever is said of them.
const PAGE_OBJECTS: usize = 500;

/// Chunks received and not written yet at most.
const CHUNKS_WAITING: usize = 3;

impl NodeHandler {
    pub(super) fn put_object(&self, request: &PutObject, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let writer = self.node.put(&name(&request.name)?, spec(request)?).map_err(failure)?;
        if writer.position() != request.offset {
            let (is, asked) = (writer.position(), request.offset);
            let message = format!("the upload of {} goes on at byte {is}, not {asked}: ask again", request.name);
            return Err(Failure::new(Kind::Invalid, message));
        }
        Ok(Response::Object(describe(&receive_all(writer, peer)?)))
    }

    pub(super) fn find_upload(&self, request: &PutObject, peer: &mut dyn Peer) -> Result<Response, Failure> {
        let found = self.node.upload_position(&name(&request.name)?, &spec(request)?).map_err(failure)?;
        if !found.tail.is_empty() {
            peer.send(found.position - found.tail.len() as u64, &found.tail)?;
        }
        Ok(Response::Upload(Upload { offset: found.position }))
    }

    pub(super) fn get_object(
        &self,
        text: &str,
        offset: u64,
        length: Option<u64>,
        peer: &mut dyn Peer,
    ) -> Result<Response, Failure> {
        let object = self.node.open_object(&name(text)?).map_err(failure)?;
        let size_bytes = object.object().entry.length;
        if offset > size_bytes {
            let message = format!("{text} has {size_bytes} bytes, and none from {offset} on");
            return Err(Failure::new(Kind::Invalid, message));
        }
        let mut pieces =
            object.pieces(offset, length.map_or(u64::MAX, |length| offset.saturating_add(length))).map_err(failure)?;
        let (mut position, mut data_bytes) = (0, 0);
        while let Some(piece) = pieces.next_piece().map_err(failure)? {
            if !is_zero(&piece) {
                peer.send(position, &piece)?;
                data_bytes += piece.len() as u64;
            }
            position += piece.len() as u64;
        }
        Ok(Response::Transferred(Transferred { name: text.to_owned(), size_bytes: position, data_bytes }))
    }

    pub(super) fn object_info(&self, text: &str) -> Result<Response, Failure> {
        Ok(Response::Object(describe(&self.node.object(&name(text)?).map_err(failure)?)))
    }

    pub(super) fn list_objects(&self, prefix: &str, after: Option<&str>) -> Result<Response, Failure> {
        let after = after.map(name::<ObjectName>).transpose()?;
        let found = self.node.objects(prefix, after.as_ref(), PAGE_OBJECTS);
        let next = found.get(PAGE_OBJECTS - 1).map(|last| last.name.to_string());
        Ok(Response::Objects(Objects { objects: found.iter().map(describe).collect(), next }))
    }

    pub(super) fn list_uploads(&self) -> Response {
        let describe = |(name, upload): (ObjectName, UploadEntry)| UploadDescription {
            name: name.to_string(),
            began: rfc3339(upload.began_ms),
            expires: upload.resumable.then(|| rfc3339(upload.expires_ms)),
        };
        Response::Uploads { uploads: self.node.uploads().into_iter().map(describe).collect() }
    }

    pub(super) fn remove_object(&self, text: &str, upload: bool) -> Result<Response, Failure> {
        let name = name(text)?;
        let removed = if upload { self.node.remove_upload(&name) } else { self.node.remove_object(&name) };
        removed.map_err(failure)?;
        Ok(Response::Done)
    }
}

fn spec(request: &PutObject) -> Result<ObjectSpec, Failure> {
    let invalid = |error: &dyn std::error::Error| Failure::from_chain(Kind::Invalid, error);
    let codec = match &request.codec {
        None => Codec::Zstd { level: ZstdLevel::default() },
        Some(codec) => codec.parse().map_err(|error: siltstone::store::Error| invalid(&error))?,
    };
    Ok(ObjectSpec {
        chunker: if request.fixed { Chunker::Fixed } else { Chunker::default() },
        codec,
        metadata: Metadata::new(request.metadata.clone()).map_err(|error| failure(NodeError::from(error)))?,
        keep: request.keep_s.map(Span::from_seconds).transpose().map_err(|error| invalid(&error))?,
        replace: request.replace,
        resumable: request.resume,
    })
}

fn describe(object: &NamedObject) -> ObjectDescription {
    ObjectDescription {
        name: object.name.to_string(),
        size_bytes: object.entry.length,
        created: rfc3339(object.entry.created_ms),
        expires: object.entry.expires_ms.map(rfc3339),
        chunker: object.entry.chunker.name().into(),
        codec: object.codec.to_string(),
        metadata: object.entry.metadata.pairs().clone(),
    }
}

/// Receives on this thread; another cuts and writes.
fn receive_all(mut writer: ObjectWriter, peer: &mut dyn Peer) -> Result<NamedObject, Failure> {
    let broken = OnceLock::new();
    let (sender, receiver) = sync_channel(CHUNKS_WAITING);
    let received = thread::scope(|scope| {
        let (writer, broken) = (&mut writer, &broken);
        scope.spawn(move || write_all(writer, &receiver, broken));
        receive(peer, sender, broken)
    });
    if let Some(failure) = broken.into_inner() {
        return Err(failure);
    }
    let size_bytes = received?;
    write_zeros_to(&mut writer, size_bytes)?;
    writer.finish().map_err(failure)
}

/// Hands chunks over until the end, and returns where that is, or until a failure. Taking `sender` by value tells the writer the
/// end.
fn receive(peer: &mut dyn Peer, sender: SyncSender<Chunk>, broken: &OnceLock<Failure>) -> Result<u64, Failure> {
    while broken.get().is_none() {
        match peer.receive()? {
            Received::Chunk(chunk) => sender.send(chunk).expect("chunks are taken as long as there is a sender"),
            Received::End { size_bytes } => return Ok(size_bytes),
        }
    }
    Ok(0)
}

/// Writes chunks until there are no more. After a failure they are taken and dropped, so that the receiver, which may be waiting
/// to hand one over, comes to see it.
fn write_all(writer: &mut ObjectWriter, receiver: &Receiver<Chunk>, broken: &OnceLock<Failure>) {
    while let Ok(chunk) = receiver.recv() {
        if broken.get().is_some() {
            continue;
        }
        let written = write_zeros_to(writer, chunk.offset).and_then(|()| writer.write(&chunk.data).map_err(failure));
        if let Err(failure) = written {
            // Nobody else sets it.
            let _ = broken.set(failure);
        }
    }
}

fn write_zeros_to(writer: &mut ObjectWriter, offset: u64) -> Result<(), Failure> {
    match offset.checked_sub(writer.position()) {
        Some(zeros) => writer.write_zeros(zeros).map_err(failure),
        None => {
            Err(Failure::new(Kind::Invalid, "the content of an object must come in order, and not end before its end"))
        }
    }
}
