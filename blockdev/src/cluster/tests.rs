//! What the tests of the cluster share: a cluster of one node.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lsm_store::clock::SystemClock;
use lsm_store::codec::Codec;
use lsm_store::device::AccessMode;
use lsm_store::device::directory::DirectoryDevice;
use lsm_store::rng::SystemRng;
use lsm_store::store::{BackgroundMode, Budget, Environment, Options, Settings, Store};

use super::asking::Session;
use super::{AllExports, Cluster, ClusterSlot, NewVolume, Place};
use crate::access::Principal;
use crate::export::{Exports, Write};
use crate::name::VolumeName;
use crate::node::Node;

pub(super) const SIZE: u64 = 1 << 20;

pub(super) struct Fixture {
    pub(super) cluster: Arc<Cluster>,
    pub(super) exports: AllExports,
    pub(super) node: Arc<Node>,
    path: PathBuf,
}

fn open_node(path: &Path) -> Arc<Node> {
    let device = DirectoryDevice::open(path, AccessMode::ReadWrite).unwrap();
    let environment =
        Environment { device: Arc::new(device), clock: Arc::new(SystemClock::new()), rng: Arc::new(SystemRng) };
    Store::create(&environment, Settings::default()).unwrap();
    let options =
        Options { budget: Budget::new(128 << 20).unwrap(), background: BackgroundMode::Threads, read_only: false };
    Node::open(Store::open(environment, options).unwrap(), false).unwrap()
}

impl Fixture {
    /// A cluster with a volume `db` whose first block is ones.
    pub(super) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("siltstone-{test}-{}", std::process::id()));
        // Left by a run that was killed, which had the same number.
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        let node = open_node(&path);
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let place = Place { data: path.clone(), listen, name: None, zone: None };
        let cluster = Cluster::found(&place, &node).unwrap();
        let slot = Arc::new(ClusterSlot::default());
        slot.set(Arc::clone(&cluster));
        let exports = AllExports::new(Arc::clone(&node), slot);
        let new = NewVolume { name: name("db"), size_bytes: SIZE, codec: Codec::Lz4, replicas: 1 };
        cluster.create(&new).unwrap();
        exports.open("db", &Principal::Local).unwrap().write(&[Write { offset: 0, data: &[1; 4096] }]).unwrap();
        Self { cluster, exports, node, path }
    }

    #[track_caller]
    pub(super) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..3000 {
            if is_so() {
                return;
            }
            self.cluster.core.wait_change(Duration::from_millis(20));
        }
        panic!("{what}");
    }

    pub(super) fn first_byte(&self, volume: &str) -> u8 {
        let core = self.cluster.core();
        let id = core.volume_named(&name(volume)).unwrap().id;
        Session::new(core, id).read(None, 0, 1).unwrap()[0]
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.cluster.stop();
        let _ = self.node.store().close();
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub(super) fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}
