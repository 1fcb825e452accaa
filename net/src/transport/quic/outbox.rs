//! A session as its senders see it: bounded queues, one for each channel, emptied by a task for each.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use quinn::{Connection, SendStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::close;
use super::config::Config;
use super::request::{QUESTIONS_MAX, lane};
use crate::envelope::{HEADER_BYTES, Header, Message, Opening};
use crate::transport::{Channel, Class, Down, Link, SendError};

/// Most channels of a link in one direction.
pub(super) const CHANNELS_MAX: u32 = 4096;

/// Bodies up to this are copied together with others, longer ones are handed on as they are.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Messages taken from a queue at once.
const BATCH_MESSAGES_MAX: usize = 128;

/// An encoded message.
pub(super) struct Frame {
    header: [u8; HEADER_BYTES],
    body: Bytes,
}

impl Frame {
    fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// A channel that is begun.
pub(super) struct NewChannel {
    channel: Channel,
    /// What comes for it.
    queue: mpsc::UnboundedReceiver<Frame>,
    /// Comes to an end with the stream that the channel had before.
    before: Option<oneshot::Receiver<()>>,
    /// Dropped at the end of its stream.
    _ended: oneshot::Sender<()>,
}

/// A channel as its senders see it.
struct Open {
    queue: mpsc::UnboundedSender<Frame>,
    ended: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Queues {
    closed: bool,
    channels: HashMap<Channel, Open>,
    /// The streams of channels that are not wanted any more, until the peer has everything of them.
    ending: HashMap<Channel, oneshot::Receiver<()>>,
    /// Bytes queued, by class. The channels' own queues have no limit; this is what limits them.
    queued_bytes: [usize; 3],
    /// Whether a send was refused since there was room.
    refused: [bool; 3],
}

/// The sending side of a session.
pub(super) struct Outbox {
    link: Link,
    version: u16,
    connections: Vec<Connection>,
    send_bytes_max: [usize; 3],
    queues: Mutex<Queues>,
    new_channels: mpsc::UnboundedSender<NewChannel>,
    end: watch::Sender<Option<Down>>,
    /// Questions that may still be asked: those of the agreement, which do not wait for what clients ask, and all others.
    questions: [Semaphore; 2],
    /// Room for answers, in bytes.
    pub(super) answers: Semaphore,
}

impl Outbox {
    pub(super) fn new(
        link: Link,
        version: u16,
        connections: Vec<Connection>,
        config: &Config,
    ) -> (Self, mpsc::UnboundedReceiver<NewChannel>) {
        let (new_channels, queue) = mpsc::unbounded_channel();
        let outbox = Self {
            link,
            version,
            connections,
            send_bytes_max: config.send_bytes_max,
            queues: Mutex::default(),
            new_channels,
            end: watch::Sender::new(None),
            questions: QUESTIONS_MAX.map(|count| Semaphore::new(count as usize)),
            answers: Semaphore::new(config.answer_bytes_max()),
        };
        (outbox, queue)
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// Questions of a class that may still be asked.
    pub(super) fn questions(&self, class: Class) -> &Semaphore {
        &self.questions[lane(class)]
    }

    pub(super) fn version(&self) -> u16 {
        self.version
    }

    pub(super) fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The connection a channel's stream is on: catch-up on the last, consensus on the first, journals between them.
    pub(super) fn connection(&self, channel: Channel) -> &Connection {
        let count = self.connections.len() as u64;
        let index = match (channel.class, count) {
            (_, 1) | (Class::Control, _) | (Class::Journal, 2) => 0,
            (Class::Bulk, _) => count - 1,
            (Class::Journal, _) => 1 + channel.id % (count - 2),
        };
        &self.connections[index as usize]
    }

    /// Asks the session to end; the first reason counts.
    pub(super) fn end(&self, reason: Down) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(reason);
            }
            first
        });
    }

    /// True once somebody has asked the session to end.
    pub(super) fn is_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits until somebody asks the session to end.
    pub(super) async fn ended(&self) -> Down {
        let mut end = self.end.subscribe();
        let reason = end.wait_for(Option::is_some).await.map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or(Down::Asked)
    }

    /// Refuses what comes from here on and closes the connections.
    pub(super) fn close(&self, reason: &Down) {
        let mut queues = self.queues.lock();
        queues.closed = true;
        queues.channels.clear();
        drop(queues);
        for connection in &self.connections {
            close::close(connection, reason);
        }
    }

    /// Ends the channels that are not wanted any more.
    pub(super) fn retain(&self, is_wanted: impl Fn(Channel) -> bool) {
        let mut queues = self.queues.lock();
        let Queues { channels, ending, .. } = &mut *queues;
        ending.retain(|_, ended| ended.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        ending.extend(
            channels.extract_if(|channel, _| !is_wanted(*channel)).map(|(channel, open)| (channel, open.ended)),
        );
    }

    /// Queues a message.
    pub(super) fn send(&self, channel: Channel, message: &Message) -> Result<(), SendError> {
        if message.kind.family() != Some(channel.class.family()) {
            return Err(SendError::Misplaced(message.kind.0));
        }
        let header = Header::encode(self.version, message.kind, &message.body)?;
        let frame = Frame { header, body: message.body.clone() };
        let (class, bytes) = (channel.class.number(), frame.bytes());
        let mut queues = self.queues.lock();
        if queues.closed {
            return Err(SendError::Down);
        }
        if queues.queued_bytes[class] + bytes > self.send_bytes_max[class] {
            queues.refused[class] = true;
            return Err(SendError::Full);
        }
        self.queue(&mut queues, channel)?.send(frame).map_err(|_| SendError::Down)?;
        queues.queued_bytes[class] += bytes;
        Ok(())
    }

    fn queue<'a>(
        &self,
        queues: &'a mut Queues,
        channel: Channel,
    ) -> Result<&'a mpsc::UnboundedSender<Frame>, SendError> {
        if !queues.channels.contains_key(&channel) {
            if queues.channels.len() >= CHANNELS_MAX as usize {
                return Err(SendError::Channels);
            }
            let ((sender, queue), (ending, ended)) = (mpsc::unbounded_channel(), oneshot::channel());
            let new = NewChannel { channel, queue, before: queues.ending.remove(&channel), _ended: ending };
            self.new_channels.send(new).map_err(|_| SendError::Down)?;
            queues.channels.insert(channel, Open { queue: sender, ended });
        }
        Ok(&queues.channels[&channel].queue)
    }

    /// Gives back the room of what was handed to QUIC; true if somebody waits for it and half of the queue is free.
    fn release(&self, class: Class, bytes: usize) -> bool {
        let class = class.number();
        let mut queues = self.queues.lock();
        queues.queued_bytes[class] -= bytes;
        let half_free = queues.queued_bytes[class] <= self.send_bytes_max[class] / 2;
        half_free && std::mem::take(&mut queues.refused[class])
    }

    /// Writes what comes for a channel to a stream of its own, several messages at once, until the channel or the session ends.
    pub(super) async fn write_channel(&self, new: NewChannel, room: impl Fn(Class)) -> Result<(), Down> {
        let NewChannel { channel, mut queue, before, _ended } = new;
        if let Some(before) = before {
            // Ends by being dropped.
            let _ = before.await;
        }
        let connection = self.connection(channel);
        let failed = |_| connection.close_reason().map_or(Down::Protocol("a stream was stopped"), close::reason);
        let mut stream = connection.open_uni().await.map_err(close::reason)?;
        set_priority(&stream, channel.class);
        let opening = Opening { class: channel.class.number() as u8, id: channel.id }.encode();
        let header = Header::encode(self.version, opening.kind, &opening.body)?;
        stream.write_all(&[&header[..], &opening.body].concat()).await.map_err(failed)?;
        let mut frames = Vec::with_capacity(BATCH_MESSAGES_MAX);
        while queue.recv_many(&mut frames, BATCH_MESSAGES_MAX).await > 0 {
            let bytes = frames.iter().map(Frame::bytes).sum();
            stream.write_all_chunks(&mut chunks(&mut frames)).await.map_err(failed)?;
            if self.release(channel.class, bytes) {
                room(channel.class);
            }
        }
        // Fails only if it was finished or reset before.
        let _ = stream.finish();
        // Behind it nothing comes on the next stream of the channel before the peer has all of this one.
        stream.stopped().await.map(drop).map_err(|_| failed(quinn::WriteError::ClosedStream))
    }
}

/// Joins headers and short bodies.
fn chunks(frames: &mut Vec<Frame>) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut joined = BytesMut::new();
    for frame in frames.drain(..) {
        joined.extend_from_slice(&frame.header);
        if frame.body.len() <= COPIED_BYTES_MAX {
            joined.extend_from_slice(&frame.body);
        } else {
            chunks.push(joined.split().freeze());
            chunks.push(frame.body);
        }
    }
    if !joined.is_empty() {
        chunks.push(joined.freeze());
    }
    chunks
}

/// Streams of a higher priority are sent from first whenever they have something.
pub(super) fn set_priority(stream: &SendStream, class: Class) {
    let priority = match class {
        Class::Control => 2,
        Class::Journal => 1,
        Class::Bulk => 0,
    };
    // Fails only for a stream that has ended, which sends nothing.
    let _ = stream.set_priority(priority);
}
