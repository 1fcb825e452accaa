//! How fast two nodes in one process exchange messages over the loopback interface.
//!
//! `cargo run --release -p net --example transport-speed -- [CONNECTIONS] [SECONDS]`. Prints for 4 KiB questions one
//! after the other, 4 KiB appends with small acknowledgements at depth 32, bulk messages of 1 MiB, and 4 KiB questions
//! beside bulk. Both ends share the machine, so figures compare settings, not networks.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use net::envelope::{Kind, Message};
use net::environment::{Clock, SystemClock, SystemRng};
use net::identity::{Authority, Credentials, MemoryFolder, NodeId, NodeKey};
use net::transport::quic::{Config, QuicTransport};
use net::transport::{Channel, Class, Down, Handler, Link, Peer, Received, Responder, SendError, Transport, call};

const APPEND: Kind = Kind::journal(1);
const ACKNOWLEDGED: Kind = Kind::journal(2);
const BULK: Kind = Kind::bulk(1);
const ASK: Kind = Kind::control(1);
const DEADLINE: Duration = Duration::from_secs(10);

/// Answers questions and appends, counts the rest.
struct Node {
    transport: OnceLock<Arc<QuicTransport>>,
    up: Sender<Link>,
    acknowledged: Sender<()>,
    room: Sender<()>,
    bulk_bytes: Arc<AtomicU64>,
}

impl Handler for Node {
    fn handle_up(&self, link: Link) {
        let _ = self.up.send(link);
    }

    fn handle_down(&self, _link: Link, _reason: &Down) {}

    fn handle_message(&self, received: Received) {
        match received.message.kind {
            APPEND => {
                let answer = Message::new(ACKNOWLEDGED, vec![0; 16]);
                if let Some(transport) = self.transport.get() {
                    let _ = transport.send(received.link, received.channel, answer);
                }
            }
            ACKNOWLEDGED => drop(self.acknowledged.send(())),
            _ => drop(self.bulk_bytes.fetch_add(received.message.body.len() as u64, Ordering::Relaxed)),
        }
    }

    fn handle_request(&self, _link: Link, message: Message, responder: Responder) {
        responder.answer(message);
    }

    fn handle_room(&self, _link: Link, _class: Class) {
        let _ = self.room.send(());
    }
}

struct Ears {
    up: Receiver<Link>,
    acknowledged: Receiver<()>,
    room: Receiver<()>,
    bulk_bytes: Arc<AtomicU64>,
}

fn node(authority: &Authority, id: u64, connections: u8) -> Result<(Arc<QuicTransport>, Ears), Box<dyn Error>> {
    let ((up, ups), (acknowledged, acknowledgements), (room, rooms)) = (channel(), channel(), channel());
    let bulk_bytes = Arc::new(AtomicU64::new(0));
    let ears = Ears { up: ups, acknowledged: acknowledgements, room: rooms, bulk_bytes: bulk_bytes.clone() };
    let handler = Arc::new(Node { transport: OnceLock::new(), up, acknowledged, room, bulk_bytes });
    let config = Config { connections, ..Config::new("127.0.0.1:0".parse()?) };
    let credentials = credentials(authority, id)?;
    let transport =
        QuicTransport::start(config, &credentials, Arc::new(SystemClock), Arc::new(SystemRng), handler.clone())?;
    let transport = Arc::new(transport);
    let _ = handler.transport.set(transport.clone());
    Ok((transport, ears))
}

fn credentials(authority: &Authority, id: u64) -> Result<Credentials, Box<dyn Error>> {
    let (key, now) = (NodeKey::generate()?, SystemClock.wall());
    let issued = authority.issue(NodeId(id), key.public(), now, &SystemRng)?;
    Ok(key.with_certificate(issued, now)?)
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Round trips of 4 KiB questions, in microseconds: median and 99th percentile.
fn ping_pong(transport: &dyn Transport, link: Link, time: Duration) -> Result<(u128, u128), Box<dyn Error>> {
    let mut times = BTreeMap::<u128, u64>::new();
    let start = now();
    while start.elapsed() < time {
        let asked = now();
        call(transport, link, Message::new(ASK, vec![1; 4096]), DEADLINE)?;
        *times.entry(asked.elapsed().as_micros()).or_default() += 1;
    }
    let count: u64 = times.values().sum();
    let percentile = |share: f64| {
        let mut before = 0;
        let found = times.iter().find(|(_, number)| {
            before += *number;
            before as f64 >= count as f64 * share
        });
        found.map_or(0, |(micros, _)| *micros)
    };
    Ok((percentile(0.5), percentile(0.99)))
}

/// Appends of 4 KiB that were acknowledged, per second.
fn appends(transport: &dyn Transport, link: Link, ears: &Ears, time: Duration) -> Result<f64, Box<dyn Error>> {
    let message = Message::new(APPEND, vec![1; 4096]);
    for _ in 0..32 {
        transport.send(link, Channel::journal(1), message.clone())?;
    }
    let (start, mut count) = (now(), 0_u64);
    while start.elapsed() < time {
        ears.acknowledged.recv_timeout(DEADLINE)?;
        transport.send(link, Channel::journal(1), message.clone())?;
        count += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    for _ in 0..32 {
        ears.acknowledged.recv_timeout(DEADLINE)?;
    }
    Ok(rate)
}

/// Bulk bytes that arrived, in MB/s.
fn bulk(
    transport: &dyn Transport,
    link: Link,
    (from, to): (&Ears, &AtomicU64),
    time: Duration,
) -> Result<f64, Box<dyn Error>> {
    let message = Message::new(BULK, vec![1; 1 << 20]);
    let (start, before) = (now(), to.load(Ordering::Relaxed));
    while start.elapsed() < time {
        match transport.send(link, Channel::bulk(1), message.clone()) {
            Ok(()) => {}
            Err(SendError::Full) => from.room.recv_timeout(DEADLINE)?,
            Err(other) => return Err(other.into()),
        }
    }
    Ok((to.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64() / 1e6)
}

#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let connections: u8 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let time = Duration::from_secs(arguments.next().map_or(Ok(5), |text| text.parse())?);
    let authority = Authority::create(&MemoryFolder::default(), &SystemRng)?;
    let (one, ears) = node(&authority, 1, connections)?;
    let (two, other) = node(&authority, 2, connections)?;
    let peer = |node, transport: &QuicTransport| -> Result<Peer, Box<dyn Error>> {
        Ok(Peer { node: NodeId(node), addresses: vec![transport.local_address()?] })
    };
    let peers = vec![peer(1, &one)?, peer(2, &two)?];
    one.set_peers(peers.clone());
    two.set_peers(peers);
    let link = ears.up.recv_timeout(DEADLINE)?;
    let (median, high) = ping_pong(&*one, link, time)?;
    println!("{connections} connections: 4 KiB question {median} us median, {high} us 99 %");
    println!(
        "{connections} connections: {:.0} acknowledged 4 KiB appends/s at depth 32",
        appends(&*one, link, &ears, time)?
    );
    println!("{connections} connections: {:.0} MB/s in bulk", bulk(&*one, link, (&ears, &other.bulk_bytes), time)?);
    let asker = one.clone();
    let beside = std::thread::spawn(move || ping_pong(&*asker, link, time).map_err(|error| error.to_string()));
    let rate = bulk(&*one, link, (&ears, &other.bulk_bytes), time)?;
    let (median, high) = beside.join().map_err(|_| "the asking thread panicked")??;
    println!("{connections} connections: {median} us median, {high} us 99 % beside {rate:.0} MB/s in bulk");
    Ok(())
}
