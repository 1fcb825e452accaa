//! How a node becomes part of a cluster, and goes on as one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lsm_store::device::directory::DirectoryDevice;
use lsm_store::device::{AccessMode, Device};
use net::config::id::StoreId;
use net::config::name::{Name, Text};
use net::config::raft::{Consensus, Raft, Timing};
use net::config::state::{About, Command, NodeState};
use net::config::storage::Storage;
use net::environment::{Clock, Rng, SystemClock, SystemRng};
use net::id::NodeId;
use net::identity::{Authority, Credentials, Directory, Folder, NodeKey};
use net::join::Token;
use net::transport::quic::{Config, QuicTransport, join};
use net::transport::{Peer, Transport};
use tokio::runtime::{Builder, Runtime};

use super::core::Core;
use super::keys::{Keys, Renewal, trust_stored};
use super::network::{AgreementCaller, Network};
use super::outside::NodeAround;
use super::workers::Workers;
use super::{ClusterError, Place, Result};
use crate::node::Node;
use crate::replica::Outside;
use crate::replica::log::BootId;
use crate::replica::ticks::BootTicks;

/// Where a node listens that was not told where.
const LISTEN: &str = "127.0.0.1:10809";

/// The file with the address last used.
const ADDRESS_FILE: &str = "address";

/// The file with the nodes that a node was told of when it joined.
const MEMBERS_FILE: &str = "members";

/// Between two attempts of a node to say what it is.
const INTRODUCTION_PAUSE: Duration = Duration::from_millis(300);

/// How long a node that stops waits for others to take over its volumes.
const HAND_OVER_WAIT: Duration = Duration::from_secs(1);

/// Contents that are sent at once: others wait for their turn. Each takes a thread for hours at worst, and whoever receives content or
/// lends blocks must not wait for one.
const SENDERS_MAX: usize = 8;

/// Snapshots for nodes that leave that are waited for at once.
const PINNERS_MAX: usize = 4;

/// Where the machine says which start of its kernel this is.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The parts of a running node of a cluster, which end in this order.
pub(super) struct Running {
    pub(super) core: Arc<Core>,
    pub(super) workers: [Arc<Workers>; 4],
    /// That keep replicas and keys, mend, do what is due, and watch.
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) runtime: Option<Runtime>,
    pub(super) keys: Arc<Keys>,
    /// Where it is reached.
    pub(super) address: SocketAddr,
}

/// What a node starts with besides its files.
struct Beginning {
    /// It makes the cluster.
    is_founder: bool,
    /// Whom it was told of when it joined.
    members: Vec<Peer>,
}

/// Makes a cluster of one node.
pub(super) fn found(place: &Place, node: &Arc<Node>) -> Result<Running> {
    let folder = open_folder(place)?;
    refuse_if_in_cluster(&folder)?;
    let authority = match Authority::load(&folder)? {
        Some(begun) => begun,
        None => Authority::create(&folder, &SystemRng)?,
    };
    let (key, now) = (NodeKey::generate()?, clock(node).wall());
    let issued = authority.issue(NodeId(1), key.public(), now, &SystemRng)?;
    let credentials = key.with_certificate(issued, now)?;
    assign_storage(place, &credentials)?;
    // Last: with it the node is in the cluster.
    credentials.store(&folder)?;
    run(place, node, folder, credentials, Beginning { is_founder: true, members: Vec::new() })
}

/// Joins a cluster.
pub(super) fn join_with(place: &Place, token: &str, node: &Arc<Node>) -> Result<Running> {
    let folder = open_folder(place)?;
    refuse_if_in_cluster(&folder)?;
    let token: Token = token.trim().parse()?;
    let (key, clock) = (NodeKey::generate()?, clock(node));
    let address = listen_address(place, &folder)?;
    let joined = join(&token, &key, &[address], Arc::clone(&clock), PROGRAM)?;
    let credentials = key.with_certificate(joined.issued, clock.wall())?;
    assign_storage(place, &credentials)?;
    let members = encode_members(&joined.members);
    folder.replace(MEMBERS_FILE, members.as_bytes()).map_err(|source| io("writing the cluster's members", source))?;
    credentials.store(&folder)?;
    let place = Place { listen: Some(address), ..place.clone() };
    run(&place, node, folder, credentials, Beginning { is_founder: false, members: joined.members })
}

/// Goes on in the cluster that the node is in.
pub(super) fn open(place: &Place, node: &Arc<Node>) -> Result<Option<Running>> {
    if !place.data.join("cluster").exists() {
        return Ok(None);
    }
    let folder = open_folder(place)?;
    let Some(credentials) = Credentials::load(&folder)? else { return Ok(None) };
    let credentials = made_valid(credentials, &folder, clock(node).wall())?;
    let members = folder.read(MEMBERS_FILE).map_err(|source| io("reading the cluster's members", source))?;
    let members = members.map_or_else(Vec::new, |bytes| decode_members(&String::from_utf8_lossy(&bytes)));
    // A founding that was cut short is gone on with; one that was not is not asked about: the others may be down.
    let is_founder = credentials.node() == NodeId(1) && !Storage::open(&place.data.join("cluster"))?.is_begun()?;
    let beginning = Beginning { is_founder, members };
    run(place, node, folder, credentials, beginning).map(Some)
}

const PROGRAM: &str = concat!("silt ", env!("CARGO_PKG_VERSION"));

fn io(what: &'static str, source: std::io::Error) -> ClusterError {
    ClusterError::Io { what, source }
}

fn open_folder(place: &Place) -> Result<Directory> {
    Directory::open(place.data.join("cluster")).map_err(|source| io("making the directory `cluster`", source))
}

fn refuse_if_in_cluster(folder: &dyn Folder) -> Result<()> {
    match Credentials::load(folder)? {
        Some(credentials) => Err(ClusterError::InCluster(credentials.cluster().to_string())),
        None => Ok(()),
    }
}

/// The file of the configuration, which is this node's from then on.
fn assign_storage(place: &Place, credentials: &Credentials) -> Result<()> {
    let directory = place.data.join("cluster");
    let mut store = [0; 16];
    SystemRng.fill(&mut store);
    let storage = match Storage::create(&directory, StoreId(store)) {
        Err(net::config::storage::StorageError::Exists) => Storage::open(&directory)?,
        made => made?,
    };
    storage.assign(credentials.cluster(), credentials.node())?;
    Ok(())
}

/// The address asked for, or that of the last time; with a port in any case, since others are told of it.
fn listen_address(place: &Place, folder: &dyn Folder) -> Result<SocketAddr> {
    let last = folder.read(ADDRESS_FILE).map_err(|source| io("reading the cluster's address", source))?;
    let last = last.and_then(|bytes| String::from_utf8_lossy(&bytes).parse().ok());
    let usual = || LISTEN.parse().expect("the usual address is one");
    let address: SocketAddr = place.listen.or(last).unwrap_or_else(usual);
    if address.ip().is_unspecified() {
        return Err(ClusterError::Unspecified(address));
    }
    if address.port() != 0 {
        return Ok(address);
    }
    // The kernel does not give a port again that it has just given.
    let socket = std::net::UdpSocket::bind(address).map_err(|source| io("choosing a port", source))?;
    socket.local_addr().map_err(|source| io("choosing a port", source))
}

fn boot_id() -> Result<BootId> {
    let text = std::fs::read_to_string(BOOT_ID_PATH).map_err(|source| io("reading the kernel's boot id", source))?;
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
        *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    Ok(BootId(id))
}

fn run(
    place: &Place,
    node: &Arc<Node>,
    folder: Directory,
    credentials: Credentials,
    beginning: Beginning,
) -> Result<Running> {
    let address = listen_address(place, &folder)?;
    node.remove_unnamed_snapshots()?;
    let logs = place.data.join("replicas");
    make_durable(&logs, &place.data).map_err(|source| io("making the directory `replicas`", source))?;
    let device = DirectoryDevice::open(&logs, AccessMode::ReadWrite);
    let device: Arc<dyn Device> = Arc::new(device.map_err(|source| io("opening the directory `replicas`", source))?);
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("silt-config").enable_all().build();
    let runtime = runtime.map_err(|source| io("starting a thread", source))?;
    let core = Arc::new(Core::new(
        credentials.node(),
        Arc::clone(node),
        device,
        boot_id()?,
        Arc::new(BootTicks),
        Arc::new(lsm_store::rng::SystemRng),
        runtime.handle().clone(),
    ));
    let (workers, movers) = (Arc::new(Workers::default()), Arc::new(Workers::default()));
    let network = Arc::new(Network {
        core: OnceLock::from(Arc::downgrade(&core)),
        keys: OnceLock::new(),
        workers: Arc::clone(&workers),
        movers: Arc::clone(&movers),
    });
    let memory_bytes = node.store().budget().total_bytes;
    let config = Config { program: PROGRAM.to_owned(), ..Config::within(address, memory_bytes) };
    let (clock, heard) = (clock(node), Arc::clone(&network));
    let transport = QuicTransport::start(config, &credentials, Arc::clone(&clock), Arc::new(SystemRng), heard)?;
    trust_stored(&transport, &folder)?;
    let transport = Arc::new(transport);
    let kept = folder.replace(ADDRESS_FILE, address.to_string().as_bytes());
    kept.map_err(|source| io("writing the cluster's address", source))?;
    set_once(&core.transport, Arc::clone(&transport));
    let storage = Storage::open(&place.data.join("cluster"))?;
    let store = storage.store();
    let caller = Arc::new(AgreementCaller { core: Arc::downgrade(&core) });
    let raft = runtime.block_on(Raft::start(storage, caller, &Timing::default()))?;
    set_once(&core.view, raft.watch());
    set_once(&core.consensus, raft.clone());
    if core.configuration().cluster().is_some() {
        core.set_peers(&core.configuration());
    } else {
        core.transport().set_peers(beginning.members.clone());
    }
    let me = Introduction { address, name: place.name.clone(), zone: place.zone.clone(), store };
    if beginning.is_founder {
        runtime.block_on(raft.found(me.about(core.me, &credentials)?, wall_ms()))?;
    }
    let keys = Arc::new(Keys::new(&core, transport, clock, folder)?);
    set_once(&network.keys, Arc::downgrade(&keys));
    let renewal = Renewal::new(Arc::clone(&keys), credentials)?;
    runtime.spawn(follow(Arc::downgrade(&core), Arc::downgrade(&keys)));
    runtime.spawn(Keys::learn(Arc::downgrade(&keys)));
    runtime.spawn(introduce(Arc::downgrade(&core), me));
    let [senders, pinners] = [SENDERS_MAX, PINNERS_MAX].map(|threads| Arc::new(Workers::with_threads(threads)));
    let around =
        NodeAround { core: Arc::downgrade(&core), senders: Arc::clone(&senders), pinners: Arc::clone(&pinners) };
    let outside: Arc<dyn Outside> = Arc::new(around);
    let [managed, mended, tended, watched] = [(); 4].map(|()| Arc::clone(&core));
    let threads = vec![
        spawned("silt-cluster", move || managed.manage(&outside))?,
        spawned("cluster-mending", move || mended.keep_mended())?,
        spawned("cluster-duties", move || tended.tend())?,
        spawned("silt-keys", move || renewal.keep())?,
        spawned("silt-watch", move || watched.watch())?,
    ];
    Ok(Running { core, workers: [workers, movers, senders, pinners], threads, runtime: Some(runtime), keys, address })
}

fn spawned(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|source| io("starting a thread", source))
}

/// The time by which certificates and tokens are good.
fn clock(node: &Arc<Node>) -> Arc<dyn Clock> {
    Arc::new(StoreClock(Arc::clone(node.store().clock())))
}

struct StoreClock(Arc<dyn lsm_store::clock::Clock>);

impl Clock for StoreClock {
    fn wall(&self) -> Duration {
        self.0.wall()
    }
}

/// The credentials with a certificate that holds: a node that was off for long makes itself another, if it can.
fn made_valid(credentials: Credentials, folder: &Directory, now: Duration) -> Result<Credentials> {
    if credentials.is_valid(now) {
        return Ok(credentials);
    }
    let authority = Authority::load_of(folder, &credentials)?.ok_or(ClusterError::Expired)?;
    let reissued = credentials.reissued(&authority, now, &SystemRng)?;
    reissued.store_renewed(folder)?;
    tracing::info!("this node's certificate did not hold any more and was made anew");
    Ok(reissued)
}

/// Makes a directory whose name survives a power cut, as what is in it must.
fn make_durable(path: &Path, parent: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::File::open(parent)?.sync_all()
}

fn set_once<T>(cell: &OnceLock<T>, value: T) {
    assert!(cell.set(value).is_ok(), "a node is started once");
}

pub(super) fn wall_ms() -> u64 {
    SystemClock.wall().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Passes on what the cluster agrees on.
async fn follow(core: Weak<Core>, keys: Weak<Keys>) {
    let Some(mut view) = core.upgrade().and_then(|core| core.view.get().cloned()) else { return };
    loop {
        let configuration = Arc::clone(&view.borrow_and_update().configuration);
        let Some(core) = core.upgrade() else { return };
        if configuration.cluster().is_some() {
            core.set_peers(&configuration);
            if let Some(keys) = keys.upgrade() {
                keys.follow(&core);
            }
            core.follow_settings(&configuration);
            core.spread(&configuration);
        }
        drop(core);
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// What a node says about itself.
struct Introduction {
    address: SocketAddr,
    name: Option<String>,
    zone: Option<String>,
    store: StoreId,
}

impl Introduction {
    fn about(&self, node: NodeId, credentials: &Credentials) -> Result<About> {
        Ok(About {
            name: self.name(node)?,
            addresses: vec![self.address.to_string().parse()?],
            zone: self.zone.as_deref().unwrap_or_default().parse()?,
            key: credentials.public_key()?,
            store: Some(self.store),
        })
    }

    fn name(&self, node: NodeId) -> Result<Name> {
        let chosen = || format!("node-{node}");
        Ok(self.name.clone().unwrap_or_else(chosen).parse()?)
    }

    /// What is to be changed in what the cluster knows of the node; `None` if nothing is.
    fn correction(&self, known: &net::config::state::Node) -> Result<Option<Command>> {
        let about = &known.about;
        let name = match (&self.name, about.is_described()) {
            (Some(name), _) => name.parse()?,
            (None, true) => about.name.clone(),
            (None, false) => self.name(known.id)?,
        };
        let zone: Text = match &self.zone {
            Some(zone) => zone.parse()?,
            None => about.zone.clone(),
        };
        let addresses = vec![self.address.to_string().parse()?];
        let is_right =
            about.name == name && about.zone == zone && about.addresses == addresses && about.store.is_some();
        if is_right {
            let admit = Command::AdmitNode { node: known.id };
            return Ok((known.state == NodeState::Joining).then_some(admit));
        }
        Ok(Some(Command::DescribeNode { node: known.id, name, addresses, zone, store: self.store }))
    }
}

/// Tells the cluster what this node is, until it knows.
async fn introduce(core: Weak<Core>, me: Introduction) {
    loop {
        let Some(core) = core.upgrade().filter(|core| !core.is_stopping()) else { return };
        let configuration = core.configuration();
        if let Some(known) = configuration.node(core.me) {
            match me.correction(known) {
                Ok(None) => return,
                Ok(Some(command)) => {
                    if let Err(error) = core.consensus().propose(command).await {
                        tracing::warn!(%error, "the cluster does not know yet where this node is");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the cluster cannot be told what this node is");
                    return;
                }
            }
        }
        drop(core);
        tokio::time::sleep(INTRODUCTION_PAUSE).await;
    }
}

/// A line for each node: its number, and its addresses.
fn encode_members(members: &[Peer]) -> String {
    let line = |peer: &Peer| {
        let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
        format!("{} {}\n", peer.node, addresses.join(" "))
    };
    members.iter().map(line).collect()
}

fn decode_members(text: &str) -> Vec<Peer> {
    let peer = |line: &str| {
        let mut words = line.split(' ');
        let node = NodeId(words.next()?.parse().ok()?);
        Some(Peer { node, addresses: words.filter_map(|word| word.parse().ok()).collect() })
    };
    text.lines().filter_map(peer).collect()
}

impl Running {
    /// Ends everything.
    pub(super) fn stop(&mut self) {
        self.core.hand_over_all(HAND_OVER_WAIT);
        self.core.begin_stop();
        self.workers.iter().for_each(|workers| workers.stop());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the cluster panicked");
            }
        }
        self.workers.iter().for_each(|workers| workers.wait_ended(Duration::from_secs(2)));
        if let Some(runtime) = self.runtime.take() {
            let consensus = self.core.consensus();
            // Within a moment: a stop must not wait for other nodes.
            let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), consensus.stop()).await });
            self.keys.stop_speaking();
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}
