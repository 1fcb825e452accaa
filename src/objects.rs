//! Objects: streams of bytes with a name, such as backups and dumps.

mod list;
mod reader;
mod upload;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use blockdev::lsm_store::codec::Codec;

pub use list::Objects;
pub use reader::ObjectReader;
pub(crate) use upload::skip;
pub use upload::{Upload, UploadInfo};

/// How an object is put.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("siltstone-object-options-{}", std::process::id()));
/// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
/// use std::time::Duration;
///
/// let options = siltstone::ObjectOptions::new().metadata("host", "db1").keep(Duration::from_secs(30 * 86_400));
/// let info = store.put_object("pg/monday", &options, &b"a dump"[..], &mut siltstone::unwatched)?;
/// assert_eq!(info.metadata["host"], "db1");
/// assert!(info.expires_ms > Some(info.created_ms));
/// # store.close()?;
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok::<(), siltstone::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectOptions {
    pub(crate) fixed: bool,
    pub(crate) codec: Option<Codec>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) keep: Option<Duration>,
    pub(crate) replace: bool,
    pub(crate) resume: bool,
}

impl ObjectOptions {
    /// Cut by content, compressed by zstd, for good, of a new name, and begun anew.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores it in blocks of 4 KiB, which it shares with volumes: for images of disks. Others are cut where their content
    /// says, into chunks of 8 to 64 KiB, and share with others that are, wherever the same bytes are in them.
    #[must_use]
    pub fn fixed(mut self, fixed: bool) -> Self {
        self.fixed = fixed;
        self
    }

    /// How it is compressed; else by zstd.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Says something of it; of one key the last value counts. At most 64 keys of 1 to 128 bytes without `=`, values of at
    /// most 1024 bytes, 8 KiB in all, no control characters.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// How long it stays, in whole seconds, of which a part counts as one. Then a daemon removes it, or a store that was opened
    /// with [duties](crate::Options::duties).
    #[must_use]
    pub fn keep(mut self, time: Duration) -> Self {
        self.keep = Some(time);
        self
    }

    /// Puts it in the place of an object of its name, when it is complete.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Goes on with what was broken off, if that was cut and compressed in the same way; and if this is broken off, keeps what
    /// has come for 7 days.
    #[must_use]
    pub fn resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// The seconds it stays.
    pub(crate) fn keep_s(&self) -> Option<u64> {
        self.keep.map(|keep| keep.as_secs().saturating_add(u64::from(keep.subsec_nanos() > 0)))
    }
}

/// An object as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its name: 1 to 255 bytes of text without control characters that do not start with `/`.
    pub name: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When it was complete, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it goes by itself, in the same way.
    pub expires_ms: Option<u64>,
    /// It is stored in blocks that it shares with volumes.
    pub is_fixed: bool,
    /// How it was compressed.
    pub codec: Codec,
    /// What is said of it.
    pub metadata: BTreeMap<String, String>,
}

impl ObjectInfo {
    /// When it was complete.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.created_ms)
    }
}
