//! What happened at a node that somebody may want to know later: the newest in memory, and in two small files if the node has a
//! place for them. Their form is in `docs/operations.md`, "Events".
//!
//! They are for people. Nothing is decided by them, so they are not synced: a power cut may cost the last ones.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_store::clock::Clock;
use parking_lot::Mutex;

/// Events in memory, and shown, at most.
pub const EVENTS_MAX: usize = 2000;

/// The file of the newest events. When it is full it takes the place of the older one.
const FILE: &str = "events";
const OLDER_FILE: &str = "events.old";

/// When a file is full.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Longest text of an event; what is longer is cut.
const TEXT_BYTES_MAX: usize = 400;

/// Words for what happened. Others may come from newer nodes.
pub mod kind {
    /// A node became a member.
    pub const NODE_JOINED: &str = "node_joined";
    /// A node was removed after it had given away what it held.
    pub const NODE_LEFT: &str = "node_left";
    /// A node was removed as lost.
    pub const NODE_LOST: &str = "node_lost";
    /// A node is to give away what it holds.
    pub const NODE_DRAINING: &str = "node_draining";
    /// A node holds nothing any more.
    pub const NODE_DRAINED: &str = "node_drained";
    /// A node that was being drained takes replicas again.
    pub const NODE_RESUMED: &str = "node_resumed";
    /// A node is not reached.
    pub const NODE_UNREACHED: &str = "node_unreached";
    /// It is reached again.
    pub const NODE_REACHED: &str = "node_reached";
    /// A volume has all its copies.
    pub const VOLUME_HEALTHY: &str = "volume_healthy";
    /// A volume lacks copies.
    pub const VOLUME_DEGRADED: &str = "volume_degraded";
    /// Requests of a volume wait.
    pub const VOLUME_STALLED: &str = "volume_stalled";
    /// Another node serves a volume.
    pub const PRIMARY_MOVED: &str = "primary_moved";
    /// A node's certificate and key were renewed.
    pub const CERTIFICATE_RENEWED: &str = "certificate_renewed";
    /// The cluster takes up another authority, or has come a step further with it.
    pub const AUTHORITY_CHANGING: &str = "authority_changing";
    /// The cluster has another authority.
    pub const AUTHORITY_CHANGED: &str = "authority_changed";
    /// A new authority was given up.
    pub const AUTHORITY_KEPT: &str = "authority_kept";
    /// Something on the disk is not what was written.
    pub const DAMAGE_FOUND: &str = "damage_found";
    /// Damage was repaired from another node.
    pub const DAMAGE_REPAIRED: &str = "damage_repaired";
    /// Damage was not found any more.
    pub const DAMAGE_GONE: &str = "damage_gone";
    /// A scrub went to its end.
    pub const SCRUB_DONE: &str = "scrub_done";
    /// New data is refused.
    pub const DISK_FULL: &str = "disk_full";
    /// There is room again.
    pub const DISK_HAS_ROOM: &str = "disk_has_room";
    /// The store has stopped after an I/O error.
    pub const STORE_STOPPED: &str = "store_stopped";
    /// The machine's clock was set ahead, or stood still.
    pub const CLOCK_JUMPED: &str = "clock_jumped";
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What, as one of [`kind`].
    pub kind: String,
    /// The name of the node or volume it happened to; empty for the node that says so.
    pub subject: String,
    /// In words.
    pub text: String,
}

impl Event {
    fn encode(&self) -> String {
        format!("{}\t{}\t{}\t{}\n", self.at_ms, self.kind, self.subject, self.text)
    }

    /// What a line says; `None` if it is none, as the last one after a crash may be.
    fn decode(line: &str) -> Option<Self> {
        let mut fields = line.splitn(4, '\t');
        let at_ms = fields.next()?.parse().ok()?;
        let (kind, subject, text) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { at_ms, kind: kind.to_owned(), subject: subject.to_owned(), text: text.to_owned() })
    }
}

/// The events of a node.
pub struct Events {
    clock: Arc<dyn Clock>,
    recent: Mutex<VecDeque<Event>>,
    /// Taken before `recent`, which nobody holds while the disk is waited for.
    kept: Mutex<Option<Kept>>,
}

/// Where they are kept.
struct Kept {
    directory: PathBuf,
    file: File,
    bytes: u64,
}

impl Events {
    /// None yet, kept in memory only.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, recent: Mutex::default(), kept: Mutex::default() }
    }

    /// Reads what earlier runs have kept in `directory`, and keeps what happens there from now on.
    ///
    /// # Errors
    /// Those of the files. Events are in memory only then.
    pub fn keep_in(&self, directory: &Path) -> io::Result<()> {
        self.read_from(directory)?;
        let kept = Kept::open(directory)?;
        *self.kept.lock() = Some(kept);
        Ok(())
    }

    /// Reads what earlier runs have kept in `directory`.
    ///
    /// # Errors
    /// Those of the files.
    pub fn read_from(&self, directory: &Path) -> io::Result<()> {
        let mut earlier = Vec::new();
        for name in [OLDER_FILE, FILE] {
            match fs::read(directory.join(name)) {
                Ok(bytes) => earlier.extend(String::from_utf8_lossy(&bytes).lines().filter_map(Event::decode)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut recent = self.recent.lock();
        earlier.extend(std::mem::take(&mut *recent));
        *recent = earlier.split_off(earlier.len().saturating_sub(EVENTS_MAX)).into();
        Ok(())
    }

    /// Something has happened.
    pub fn note(&self, kind: &str, subject: &str, text: &str) {
        tracing::info!(kind, subject, "event: {text}");
        let at_ms = u64::try_from(self.clock.wall().as_millis()).unwrap_or(u64::MAX);
        let event = Event { at_ms, kind: line(kind), subject: line(subject), text: line(text) };
        let mut place = self.kept.lock();
        let mut recent = self.recent.lock();
        if recent.len() == EVENTS_MAX {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        drop(recent);
        if let Some(kept) = &mut *place
            && let Err(error) = kept.append(&event)
        {
            tracing::warn!(%error, "events are not kept in the data directory any more");
            *place = None;
        }
    }

    /// Those that happened at `since_ms` or later, from the oldest.
    #[must_use]
    pub fn since(&self, since_ms: u64) -> Vec<Event> {
        self.recent.lock().iter().filter(|event| event.at_ms >= since_ms).cloned().collect()
    }
}

impl Kept {
    fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let before = fs::read(path)?;
        if before.last().is_some_and(|byte| *byte != b'\n') {
            // The end of a line that a crash has cut must not run into the next.
            file.write_all(b"\n")?;
        }
        let bytes = file.metadata()?.len();
        Ok(Self { directory: directory.to_owned(), file, bytes })
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            fs::rename(self.directory.join(FILE), self.directory.join(OLDER_FILE))?;
            *self = Self::open(&self.directory)?;
        }
        let line = event.encode();
        self.bytes += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }
}

/// Text that fits a field of a line.
fn line(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text[..end].replace(|letter: char| letter.is_control(), " ")
}

#[cfg(test)]
mod tests;
