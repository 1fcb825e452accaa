//! Objects of a store that a daemon has. See `docs/protocol.md`.

use std::io::Read;

use blockdev::lsm_store::fingerprint::is_zero;
use blockdev::name::ObjectName;
use blockdev::net::control::{Chunk, Event, Progress, PutObject, Received, Request, Response};

use super::calls::{Calls, Download, Listener};
use super::{Connected, describe};
use crate::backend::{ObjectPage, Objects, OpenedObject, PIECE_BYTES, Pieces, read_piece};
use crate::byte_range::ByteRange;
use crate::error::{Cause, Caused};
use crate::objects::{ObjectInfo, ObjectOptions, Upload, UploadInfo};
use crate::progress::{self, Watch};

impl Objects for Connected {
    fn object(&self, name: &ObjectName) -> Caused<ObjectInfo> {
        match self.ask(&Request::ObjectInfo { name: name.to_string() })? {
            Response::Object(object) => describe::object(object),
            _ => Err(Cause::Answer),
        }
    }

    fn objects(&self, prefix: &str, after: Option<&ObjectName>) -> Caused<ObjectPage> {
        let request = Request::ListObjects { prefix: prefix.to_owned(), after: after.map(ToString::to_string) };
        let Response::Objects(page) = self.ask(&request)? else { return Err(Cause::Answer) };
        let next = page.next.map(|name| name.parse::<ObjectName>().map_err(|_| Cause::Answer)).transpose()?;
        if next.is_some() && next.as_ref() <= after {
            // There would be no end.
            return Err(Cause::Answer);
        }
        Ok((page.objects.into_iter().map(describe::object).collect::<Caused<_>>()?, next))
    }

    fn remove_object(&self, name: &ObjectName) -> Caused<()> {
        self.order(&Request::RemoveObject { name: name.to_string(), upload: false })
    }

    fn open_object(&self, name: &ObjectName, range: ByteRange) -> Caused<OpenedObject> {
        loop {
            let info = self.object(name)?;
            let bytes = range.within(&info.name, info.size_bytes)?;
            let pieces = Coming::start(&self.calls, name, bytes.start, bytes.end - bytes.start)?;
            // Else another has taken its place in between, and nobody could say which of the two comes.
            if self.object(name)? == info {
                return Ok(OpenedObject { info, range: bytes, pieces: Box::new(pieces) });
            }
        }
    }

    fn put_object(
        &self,
        name: &ObjectName,
        options: &ObjectOptions,
        offset: u64,
        content: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Caused<ObjectInfo> {
        let request = Request::PutObject(put(name, options, offset));
        match self.calls.ask(&request, &mut Giving { content, position: offset, watch })? {
            Response::Object(object) => describe::object(object),
            _ => Err(Cause::Answer),
        }
    }

    fn find_upload(&self, name: &ObjectName, options: &ObjectOptions) -> Caused<Upload> {
        let mut tail = Tail::default();
        match self.calls.ask(&Request::FindUpload(put(name, options, 0)), &mut tail)? {
            Response::Upload(upload) => Ok(Upload { offset: upload.offset, tail: tail.0 }),
            _ => Err(Cause::Answer),
        }
    }

    fn uploads(&self) -> Caused<Vec<UploadInfo>> {
        match self.ask(&Request::ListUploads)? {
            Response::Uploads { uploads } => uploads.into_iter().map(describe::upload).collect(),
            _ => Err(Cause::Answer),
        }
    }

    fn remove_upload(&self, name: &ObjectName) -> Caused<()> {
        self.order(&Request::RemoveObject { name: name.to_string(), upload: true })
    }
}

fn put(name: &ObjectName, options: &ObjectOptions, offset: u64) -> PutObject {
    PutObject {
        name: name.to_string(),
        fixed: options.fixed,
        codec: options.codec.map(|codec| codec.to_string()),
        metadata: options.metadata.clone(),
        keep_s: options.keep_s(),
        replace: options.replace,
        resume: options.resume,
        offset,
    }
}

/// Content on its way to the daemon.
struct Giving<'a> {
    content: &'a mut dyn Read,
    /// Bytes of the object that have come.
    position: u64,
    watch: Watch<'a>,
}

impl Listener for Giving<'_> {
    fn progress(&mut self, _progress: &Progress) -> Caused<()> {
        Ok(())
    }

    fn give(&mut self) -> Caused<Received> {
        loop {
            let offset = self.position;
            progress::tell(self.watch, offset, None)?;
            let data = read_piece(self.content, PIECE_BYTES)?;
            if data.is_empty() {
                return Ok(Received::End { size_bytes: offset });
            }
            self.position += data.len() as u64;
            // What is not given is zeros.
            if !is_zero(&data) {
                return Ok(Received::Chunk(Chunk { offset, data }));
            }
        }
    }
}

/// The last of what an upload has.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Listener for Tail {
    fn progress(&mut self, _progress: &Progress) -> Caused<()> {
        Ok(())
    }

    fn content(&mut self, _offset: u64, data: &[u8]) -> Caused<()> {
        if !self.0.is_empty() {
            return Err(Cause::Answer);
        }
        self.0 = data.to_vec();
        Ok(())
    }
}

/// An object on its way from the daemon.
struct Coming {
    download: Download,
    /// Where the next piece begins, and the last one ends.
    at: u64,
    end: u64,
    ahead: Ahead,
}

/// What is known of what comes.
enum Ahead {
    Nothing,
    /// Zeros up to this, then this.
    Chunk(Chunk),
    /// Zeros.
    End,
}

impl Coming {
    /// Asks, and waits until the daemon has opened the object.
    fn start(calls: &Calls, name: &ObjectName, offset: u64, len: u64) -> Caused<Self> {
        let request = Request::GetObject { name: name.to_string(), offset, length: Some(len) };
        let mut coming = Self { download: calls.download(&request)?, at: 0, end: len, ahead: Ahead::Nothing };
        coming.look_ahead()?;
        Ok(coming)
    }

    fn look_ahead(&mut self) -> Caused<()> {
        while matches!(self.ahead, Ahead::Nothing) {
            self.ahead = match self.download.next()? {
                Event::Progress(_) => continue,
                Event::Content(chunk) if self.is_next(&chunk) => Ahead::Chunk(chunk),
                Event::Answer(answer) if self.is_end(&answer) => Ahead::End,
                _ => return Err(Cause::Answer),
            };
        }
        Ok(())
    }

    fn is_next(&self, chunk: &Chunk) -> bool {
        let end = chunk.offset.checked_add(chunk.data.len() as u64);
        chunk.offset >= self.at && !chunk.data.is_empty() && end.is_some_and(|end| end <= self.end)
    }

    fn is_end(&self, answer: &Response) -> bool {
        matches!(answer, Response::Transferred(whole) if whole.size_bytes == self.end)
    }

    fn zeros_to(&self, offset: u64) -> Vec<u8> {
        let gap = usize::try_from(offset - self.at).unwrap_or(PIECE_BYTES);
        vec![0; gap.min(PIECE_BYTES)]
    }
}

impl Pieces for Coming {
    fn next_piece(&mut self) -> Caused<Option<Vec<u8>>> {
        self.look_ahead()?;
        let piece = match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Chunk(chunk) if chunk.offset == self.at => chunk.data,
            Ahead::Chunk(chunk) => {
                let zeros = self.zeros_to(chunk.offset);
                self.ahead = Ahead::Chunk(chunk);
                zeros
            }
            Ahead::End | Ahead::Nothing => {
                self.ahead = Ahead::End;
                self.zeros_to(self.end)
            }
        };
        self.at += piece.len() as u64;
        Ok(if piece.is_empty() { None } else { Some(piece) })
    }
}
