//! Objects that are not complete, and going on with them.

use std::fmt;
use std::io::Read;

use blockdev::name::ObjectName;

use crate::backend::{PIECE_BYTES, read_piece};
use crate::error::{Cause, Caused};
use crate::progress::{self, Watch};

/// An object that is not complete, as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UploadInfo {
    /// The name that it will have.
    pub name: String,
    /// When it began, or was resumed last, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// When it goes unless it is resumed; `None` if it goes as soon as it is broken off.
    pub expires_ms: Option<u64>,
}

/// Where an object that was broken off goes on.
#[derive(Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Upload {
    /// Bytes of the content that are there; 0 if nothing was broken off.
    pub offset: u64,
    /// The last of them, up to 1 MiB: the content is the same only if it has these before `offset`.
    pub tail: Vec<u8>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = self.tail.len();
        f.debug_struct("Upload").field("offset", &self.offset).field("tail_bytes", &tail).finish()
    }
}

/// Reads `content` up to where the upload goes on, and compares what is there to compare.
pub(crate) fn skip(name: &ObjectName, upload: &Upload, content: &mut dyn Read, watch: Watch<'_>) -> Caused<()> {
    let other = || Cause::OtherContent { name: name.clone(), offset: upload.offset };
    let tail_start = upload.offset.checked_sub(upload.tail.len() as u64).ok_or_else(other)?;
    let mut at = 0;
    while at < tail_start {
        progress::tell(watch, at, None)?;
        let most = usize::try_from(tail_start - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        match read_piece(content, most)?.len() {
            0 => return Err(other()),
            len => at += len as u64,
        }
    }
    let tail = read_piece(content, upload.tail.len())?;
    if tail == upload.tail { Ok(()) } else { Err(other()) }
}

#[cfg(test)]
mod tests;
