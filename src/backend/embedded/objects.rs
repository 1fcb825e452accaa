//! Objects of a store that this process has to itself.

use std::io::Read;

use blockdev::catalog::UploadEntry;
use blockdev::lsm_store::codec::{Codec, ZstdLevel};
use blockdev::lsm_store::fingerprint::is_zero;
use blockdev::name::ObjectName;
use blockdev::node::{NamedObject, ObjectPieces, ObjectSpec};
use blockdev::object::{Chunker, Metadata};
use blockdev::span::Span;

use super::Embedded;
use crate::backend::{ObjectPage, Objects, OpenedObject, PIECE_BYTES, Pieces, read_piece};
use crate::byte_range::ByteRange;
use crate::error::{Cause, Caused};
use crate::objects::{ObjectInfo, ObjectOptions, Upload, UploadInfo};
use crate::progress::{self, Watch};

/// Objects on one page of a list.
const PAGE_OBJECTS: usize = 500;

impl Objects for Embedded {
    fn object(&self, name: &ObjectName) -> Caused<ObjectInfo> {
        Ok(object_info(&self.node.object(name)?))
    }

    fn objects(&self, prefix: &str, after: Option<&ObjectName>) -> Caused<ObjectPage> {
        let found = self.node.objects(prefix, after, PAGE_OBJECTS);
        let next = found.get(PAGE_OBJECTS - 1).map(|last| last.name.clone());
        Ok((found.iter().map(object_info).collect(), next))
    }

    fn remove_object(&self, name: &ObjectName) -> Caused<()> {
        Ok(self.node.remove_object(name)?)
    }

    fn open_object(&self, name: &ObjectName, range: ByteRange) -> Caused<OpenedObject> {
        let object = self.node.open_object(name)?;
        let info = object_info(object.object());
        let range = range.within(&info.name, info.size_bytes)?;
        let pieces = Box::new(object.pieces(range.start, range.end)?);
        Ok(OpenedObject { info, range, pieces })
    }

    fn put_object(
        &self,
        name: &ObjectName,
        options: &ObjectOptions,
        offset: u64,
        content: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Caused<ObjectInfo> {
        let mut writer = self.node.put(name, spec(options)?)?;
        if writer.position() != offset {
            return Err(Cause::UploadMoved { name: name.clone(), found: writer.position(), asked: offset });
        }
        loop {
            progress::tell(watch, writer.position(), None)?;
            let piece = read_piece(content, PIECE_BYTES)?;
            if piece.is_empty() {
                return Ok(object_info(&writer.finish()?));
            }
            if is_zero(&piece) {
                writer.write_zeros(piece.len() as u64)?;
            } else {
                writer.write(&piece)?;
            }
        }
    }

    fn find_upload(&self, name: &ObjectName, options: &ObjectOptions) -> Caused<Upload> {
        let found = self.node.upload_position(name, &spec(options)?)?;
        Ok(Upload { offset: found.position, tail: found.tail })
    }

    fn uploads(&self) -> Caused<Vec<UploadInfo>> {
        Ok(self.node.uploads().iter().map(|(name, upload)| upload_info(name, upload)).collect())
    }

    fn remove_upload(&self, name: &ObjectName) -> Caused<()> {
        Ok(self.node.remove_upload(name)?)
    }
}

impl Pieces for ObjectPieces {
    fn next_piece(&mut self) -> Caused<Option<Vec<u8>>> {
        Ok(Self::next_piece(self)?)
    }
}

fn spec(options: &ObjectOptions) -> Caused<ObjectSpec> {
    Ok(ObjectSpec {
        chunker: if options.fixed { Chunker::Fixed } else { Chunker::default() },
        codec: options.codec.unwrap_or(Codec::Zstd { level: ZstdLevel::default() }),
        metadata: Metadata::new(options.metadata.clone())?,
        keep: options.keep_s().map(Span::from_seconds).transpose().map_err(Cause::Keep)?,
        replace: options.replace,
        resumable: options.resume,
    })
}

fn object_info(object: &NamedObject) -> ObjectInfo {
    ObjectInfo {
        name: object.name.to_string(),
        size_bytes: object.entry.length,
        created_ms: object.entry.created_ms,
        expires_ms: object.entry.expires_ms,
        is_fixed: object.entry.chunker == Chunker::Fixed,
        codec: object.codec,
        metadata: object.entry.metadata.pairs().clone(),
    }
}

fn upload_info(name: &ObjectName, upload: &UploadEntry) -> UploadInfo {
    UploadInfo {
        name: name.to_string(),
        began_ms: upload.began_ms,
        expires_ms: upload.resumable.then_some(upload.expires_ms),
    }
}
