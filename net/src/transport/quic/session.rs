//! A session: from "up" to "down".

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::outbox::{NewChannel, Outbox};
use super::request::Question;
use super::stream::{read_body, read_early, read_header};
use super::{Shared, close, endpoint};
use crate::envelope::{Family, HEADER_BYTES, Opening};
use crate::identity::NodeId;
use crate::transport::{Channel, Class, Down, Link, Received};

/// Runs a session on these connections until it ends, and says why it did.
pub(super) async fn run(shared: Arc<Shared>, peer: NodeId, version: u16, connections: Vec<Connection>) {
    let seat = shared.seat(peer);
    if let Some(older) = shared.sessions.lock().get(&peer) {
        older.end(Down::Superseded);
    }
    let _seat = seat.lock().await;
    let (outbox, new_channels) = Outbox::new(shared.next_link(peer), version, connections, &shared.config);
    let outbox = Arc::new(outbox);
    shared.sessions.lock().insert(peer, outbox.clone());
    // Checked after the session can be found: from here on, whoever removes the node ends it.
    if !shared.allowed.contains(peer) {
        outbox.end(Down::Removed);
    }
    super::end_stranger(&shared, &outbox);
    let link = outbox.link();
    tracing::info!(%link, version, connections = outbox.connections().len(), "connected");
    shared.handler.handle_up(link);
    let reason = Session::new(shared.clone(), outbox.clone()).run(new_channels).await;
    outbox.close(&reason);
    shared.sessions.lock().remove(&peer);
    tracing::info!(%link, %reason, "disconnected");
    shared.handler.handle_down(link, &reason);
}

impl Shared {
    fn next_link(&self, peer: NodeId) -> Link {
        let mut session = self.last_session.lock();
        *session += 1;
        Link { peer, session: *session }
    }

    /// Held by a peer's session, so that the next one waits for its end.
    pub(super) fn seat(&self, peer: NodeId) -> Arc<tokio::sync::Mutex<()>> {
        self.seats.lock().entry(peer).or_default().clone()
    }
}

/// The receiving side.
struct Session {
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    /// Room for what was received and not dropped, by class.
    rooms: [Arc<Semaphore>; 3],
    /// The same for questions, those of the agreement first.
    questions: [Arc<Semaphore>; 2],
    channels: Arc<Channels>,
    tasks: JoinSet<Result<(), Down>>,
}

impl Session {
    fn new(shared: Arc<Shared>, outbox: Arc<Outbox>) -> Self {
        let rooms = shared.config.receive_bytes_max.map(|bytes| Arc::new(Semaphore::new(bytes)));
        let questions = shared.config.question_bytes_max().map(|bytes| Arc::new(Semaphore::new(bytes)));
        Self { shared, outbox, rooms, questions, channels: Arc::default(), tasks: JoinSet::new() }
    }

    /// Takes what comes until the end; all tasks have stopped when it returns.
    async fn run(mut self, mut new_channels: mpsc::UnboundedReceiver<NewChannel>) -> Down {
        let mut arrivals = self.accept();
        let outbox = self.outbox.clone();
        let mut ended = std::pin::pin!(outbox.ended());
        let reason = loop {
            tokio::select! {
                reason = &mut ended => break reason,
                Some(new) = new_channels.recv() => self.write(new),
                Some(arrival) = arrivals.recv() => self.read(arrival),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => break reason,
                    Err(error) => break Down::Failed(error.to_string()),
                },
            }
        };
        self.tasks.shutdown().await;
        reason
    }

    /// Opens the connections to streams.
    fn accept(&mut self) -> mpsc::Receiver<Arrival> {
        let (sender, arrivals) = mpsc::channel(1);
        for connection in self.outbox.connections() {
            endpoint::admit(connection);
            self.tasks.spawn(accept_streams(connection.clone(), sender.clone()));
            self.tasks.spawn(accept_questions(connection.clone(), sender.clone()));
        }
        arrivals
    }

    fn write(&mut self, new: NewChannel) {
        let (shared, outbox) = (self.shared.clone(), self.outbox.clone());
        self.tasks.spawn(async move {
            let room = |class| shared.handler.handle_room(outbox.link(), class);
            outbox.write_channel(new, room).await
        });
    }

    fn read(&mut self, (connection, arrival): Arrival) {
        let (shared, link, version) = (self.shared.clone(), self.outbox.link(), self.outbox.version());
        match arrival {
            Streams::Channel(stream) => {
                let reader = Reader { shared, link, version, connection, stream };
                self.tasks.spawn(reader.run(self.rooms.clone(), self.channels.clone()));
            }
            Streams::Question(sender, receiver) => {
                let question = Question { shared, link, version, sender, receiver };
                self.tasks.spawn(question.serve(self.questions.clone()));
            }
        }
    }
}

type Arrival = (Connection, Streams);

enum Streams {
    Channel(RecvStream),
    Question(SendStream, RecvStream),
}

/// Accepts streams until the connection ends, and says why it did.
async fn accept_streams(connection: Connection, arrivals: mpsc::Sender<Arrival>) -> Result<(), Down> {
    loop {
        let stream = connection.accept_uni().await.map_err(close::reason)?;
        if arrivals.send((connection.clone(), Streams::Channel(stream))).await.is_err() {
            return Ok(());
        }
    }
}

async fn accept_questions(connection: Connection, arrivals: mpsc::Sender<Arrival>) -> Result<(), Down> {
    loop {
        let (sender, receiver) = connection.accept_bi().await.map_err(close::reason)?;
        if arrivals.send((connection.clone(), Streams::Question(sender, receiver))).await.is_err() {
            return Ok(());
        }
    }
}

/// The channels that a peer has open.
#[derive(Default)]
struct Channels {
    open: Mutex<HashSet<Channel>>,
    ended: Notify,
}

impl Channels {
    /// Waits until no earlier stream of the channel is read any more.
    async fn enter(&self, channel: Channel) {
        loop {
            // Hears of every end from here on.
            let ended = self.ended.notified();
            if self.open.lock().insert(channel) {
                return;
            }
            ended.await;
        }
    }

    fn leave(&self, channel: Channel) {
        self.open.lock().remove(&channel);
        self.ended.notify_waiters();
    }
}

/// Reads one channel.
struct Reader {
    shared: Arc<Shared>,
    link: Link,
    version: u16,
    connection: Connection,
    stream: RecvStream,
}

impl Reader {
    async fn run(mut self, rooms: [Arc<Semaphore>; 3], channels: Arc<Channels>) -> Result<(), Down> {
        let opening = read_early(&mut self.stream, Family::Link).await;
        let opening = opening.map_err(|error| error.into_down(&self.connection))?;
        let Opening { class, id } = Opening::decode(&opening)?;
        let class = *Class::ALL.get(usize::from(class)).ok_or(Down::Protocol("a channel of unknown class"))?;
        let channel = Channel { class, id };
        channels.enter(channel).await;
        while self.read_message(channel, &rooms[class.number()]).await? {}
        channels.leave(channel);
        Ok(())
    }

    /// Reads a message once there is room for it; false at the end of the stream.
    async fn read_message(&mut self, channel: Channel, room: &Arc<Semaphore>) -> Result<bool, Down> {
        let header = match read_header(&mut self.stream, self.version).await {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(false),
            Err(error) => return Err(error.into_down(&self.connection)),
        };
        if header.kind().family() != Some(channel.class.family()) {
            return Err(Down::Protocol("a message on a channel of another class"));
        }
        let bytes = (HEADER_BYTES + header.body_bytes()) as u32;
        let held = room.clone().acquire_many_owned(bytes).await.map_err(|_| Down::Asked)?;
        let message = read_body(&mut self.stream, &header).await.map_err(|error| error.into_down(&self.connection))?;
        self.shared.handler.handle_message(Received::new(self.link, channel, message, Some(Box::new(held))));
        Ok(true)
    }
}
