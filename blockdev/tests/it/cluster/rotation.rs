//! Another authority for the cluster, while nodes are off, come back and are cut short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use blockdev::cluster::{ClusterError, RotationReport};
use blockdev::events::kind;
use blockdev::net::envelope::Message;
use blockdev::net::environment::{SystemClock as WallClock, SystemRng as KeyRng};
use blockdev::net::id::NodeId;
use blockdev::net::identity::{Credentials, Folder, MemoryFolder};
use blockdev::net::join::JoinError;
use blockdev::net::transport::quic::{Config, QuicTransport};
use blockdev::net::transport::{Class, Down, Handler, Link, Peer, Received, Responder, Transport};

use super::*;

/// What a node writes in the step before all trust the new authority, and in the one before all show it.
const TRUSTING: &str = "authority-next";
const SHOWING: &str = "authority-former";

/// Keeps a node from taking a step: the file that the step needs cannot be written.
fn obstruct(path: &Path, file: &str) {
    fs::create_dir(path.join("cluster").join(format!("{file}.new"))).unwrap();
}

fn clear(path: &Path, file: &str) {
    fs::remove_dir(path.join("cluster").join(format!("{file}.new"))).unwrap();
}

fn file(path: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(path.join("cluster").join(name)).ok()
}

/// Three members that all have the authority's key.
fn three(scratch: &Scratch) -> Vec<Member> {
    let members = cluster_of(scratch, 3);
    wait_until("all have the authority", || {
        members.iter().all(|member| file(&member.path, "authority").is_some() && reaches(member, 3))
    });
    members
}

fn reaches(member: &Member, count: usize) -> bool {
    member.cluster.report().nodes.iter().filter(|node| node.is_reachable).count() == count
}

/// Waits until a change of the authority waits for these alone.
fn wait_for(member: &Member, is_trusted: bool, awaited: &[&str]) {
    let expected = RotationReport { is_trusted, awaited: awaited.iter().map(|name| (*name).to_owned()).collect() };
    wait_until("the change waits", || member.cluster.report().rotation.as_ref() == Some(&expected));
}

/// Waits until all members have another authority than this one, the same, and nothing is left of the change.
fn wait_changed(members: &[Member], before: &[u8]) {
    wait_until("the authority is another", || {
        let first = file(&members[0].path, "authority").unwrap();
        first != before
            && members.iter().all(|member| {
                file(&member.path, "authority").as_ref() == Some(&first)
                    && file(&member.path, TRUSTING).is_none()
                    && file(&member.path, SHOWING).is_none()
                    && member.cluster.report().rotation.is_none()
                    && reaches(member, members.len())
            })
    });
}

/// A client that writes and flushes until it is told to stop.
struct Writer {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

const BLOCKS: u64 = 256;

/// What the block has after so many writes.
fn byte_of(write: u64) -> u8 {
    (write % 251) as u8 + 1
}

impl Writer {
    fn start(export: Arc<dyn Export>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !ended.load(Ordering::Relaxed) || count < BLOCKS {
                write(&export, count % BLOCKS * 4096, byte_of(count), 4096);
                export.flush().unwrap();
                count += 1;
            }
            count
        });
        Self { is_over, thread }
    }

    /// Stops it and checks that all of it is there.
    fn stop(self, export: &Arc<dyn Export>) {
        self.is_over.store(true, Ordering::Relaxed);
        let count = self.thread.join().unwrap();
        let last = |block: u64| (0..count).rev().find(|write| write % BLOCKS == block).unwrap();
        let content: Vec<u8> = (0..BLOCKS).flat_map(|block| [byte_of(last(block)); 4096]).collect();
        assert!(read(export, 0, content.len()) == content);
    }
}

/// Hears nothing and answers nothing.
struct Deaf;

impl Handler for Deaf {
    fn handle_up(&self, _link: Link) {}
    fn handle_down(&self, _link: Link, _reason: &Down) {}
    fn handle_message(&self, _received: Received) {}
    fn handle_request(&self, _link: Link, _message: Message, _responder: Responder) {}
    fn handle_room(&self, _link: Link, _class: Class) {}
}

/// Whether a node that shows what is in this file gets to speak to a member; why not, if it does not.
fn speaks(own: &[u8], to: &Member) -> Result<(), Down> {
    let folder = MemoryFolder::default();
    folder.replace("node", own).unwrap();
    let credentials = Credentials::load(&folder).unwrap().unwrap();
    let config = Config::new("127.0.0.1:0".parse().unwrap());
    let (clock, rng) = (Arc::new(WallClock), Arc::new(KeyRng));
    let transport = QuicTransport::start(config, &credentials, clock, rng, Arc::new(Deaf)).unwrap();
    // It trusts whatever the member may show: what is asked is whether the member trusts it.
    let shown = Credentials::load(&copied(&to.path)).unwrap().unwrap();
    transport.trust(vec![shown.authority_certificate().to_vec()]);
    let node = NodeId(to.cluster.report().here);
    transport.set_peers(vec![Peer { node, addresses: vec![to.cluster.address()] }]);
    let heard = || (transport.link(node).is_some(), transport.last_failure(node));
    wait_until("the member answers", || matches!(heard(), (true, _) | (_, Some(Down::Identity(_)))));
    if heard().0 { Ok(()) } else { Err(heard().1.unwrap()) }
}

/// The node's own file, in memory.
fn copied(path: &Path) -> MemoryFolder {
    let folder = MemoryFolder::default();
    folder.replace("node", &file(path, "node").unwrap()).unwrap();
    folder
}

fn join_error(path: PathBuf, token: &str) -> ClusterError {
    let node = open_node(&path);
    let error = Cluster::join(&place(&path), token, &node).err().unwrap();
    node.store().close().unwrap();
    error
}

#[test]
fn another_authority_is_taken_up_while_nodes_come_and_go() {
    let scratch = Scratch::new("rotation");
    let mut members = three(&scratch);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let export = members[0].open_volume("db");
    let writer = Writer::start(Arc::clone(&export));
    let unused = members[0].cluster.token(TOKEN_VALIDITY).unwrap();
    let (before, old) = (file(&members[0].path, "authority").unwrap(), file(&members[1].path, "node").unwrap());
    obstruct(&members[2].path, TRUSTING);
    members[1].cluster.rotate_authority().unwrap();
    wait_for(&members[0], false, &["node-3"]);
    // Asked again, at another node, it is the same change.
    let offered = file(&members[1].path, TRUSTING);
    members[0].cluster.rotate_authority().unwrap();
    wait_for(&members[0], false, &["node-3"]);
    assert_eq!(file(&members[0].path, TRUSTING), offered);
    let refused = members[0].cluster.token(TOKEN_VALIDITY).unwrap_err().to_string();
    assert!(refused.contains("taking up another authority"), "{refused}");

    // The node that has not taken the first step is off, and the one that began is restarted.
    let third = members.pop().unwrap().stop();
    let second = members.pop().unwrap().stop();
    members.push(Member::open(second));
    wait_until("the others are there", || reaches(&members[0], 2) && reaches(&members[1], 2));
    wait_for(&members[1], false, &["node-3"]);
    assert_eq!(file(&members[1].path, "node"), Some(old.clone()), "nobody shows what not all trust");
    clear(&third, TRUSTING);
    obstruct(&third, SHOWING);
    members.push(Member::open(third));

    // All trust it, and the same node does not show it: then both kinds of certificates are good.
    wait_for(&members[0], true, &["node-3"]);
    let third = members.pop().unwrap().stop();
    let second = members.pop().unwrap().stop();
    assert_ne!(file(&second, "node"), Some(old.clone()));
    clear(&third, SHOWING);
    obstruct(&third, SHOWING);
    members.push(Member::open(second));
    members.push(Member::open(third));
    wait_until("all are there", || members.iter().all(|member| reaches(member, 3)));
    wait_for(&members[2], true, &["node-3"]);
    let (own, shown) = (file(&members[1].path, "node").unwrap(), file(&members[2].path, "node").unwrap());
    assert_ne!(own, shown);
    assert!(members[0].cluster.cancel_rotation().unwrap_err().to_string().contains("cannot be given up any more"));
    let third = members.pop().unwrap().stop();
    clear(&third, SHOWING);
    members.push(Member::open(third));
    wait_changed(&members, &before);
    members[0].wait_healthy("db");
    writer.stop(&export);
    drop(export);

    // What the authority of before has signed is worth nothing, though node and key are right.
    let own = file(&members[1].path, "node").unwrap();
    let second = members.remove(1).stop();
    let refused = speaks(&old, &members[1]).unwrap_err();
    assert!(matches!(refused, Down::Identity(_)), "{refused}");
    speaks(&own, &members[1]).unwrap();
    members.insert(1, Member::open(second));
    wait_until("all are there", || members.iter().all(|member| reaches(member, 3)));
    let error = join_error(scratch.0.join("late"), &unused);
    assert!(matches!(&error, ClusterError::Join(JoinError::OtherAuthority(_))), "{error:?}");
    let token = members[2].cluster.token(TOKEN_VALIDITY).unwrap();
    let new = Member::join(scratch.0.join("4"), &token);
    wait_until("the new node has the authority", || {
        file(&new.path, "authority").is_some_and(|found| Some(found) == file(&members[0].path, "authority"))
    });
    members.push(new);

    let paths: Vec<_> = members.into_iter().map(Member::stop).collect();
    let members: Vec<_> = paths.into_iter().map(Member::open).collect();
    wait_until("all are there", || members.iter().all(|member| reaches(member, 4)));
    members[1].wait_healthy("db");
    let export = members[1].open_volume("db");
    write(&export, 0, 255, 4096);
    assert_eq!(read(&members[3].open_volume("db"), 0, 4096), [255; 4096]);
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_lost_node_is_not_waited_for() {
    let scratch = Scratch::new("rotation-lost");
    let mut members = three(&scratch);
    let before = file(&members[0].path, "authority").unwrap();
    obstruct(&members[2].path, TRUSTING);
    members[0].cluster.rotate_authority().unwrap();
    wait_for(&members[1], false, &["node-3"]);
    let lost = members.pop().unwrap().stop();
    members[1].cluster.remove_node("node-3", true).unwrap();
    wait_changed(&members, &before);
    // It knows no more than it did: nobody speaks to it.
    clear(&lost, TRUSTING);
    let lost = Member::open(lost);
    let clock = SystemClock::new();
    while clock.monotonic() < Duration::from_secs(2) {
        assert!(members.iter().all(|member| reaches(member, 2)) && reaches(&lost, 1));
        clock.sleep(Duration::from_millis(50));
    }
    lost.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_new_authority_is_given_up_and_another_taken_up() {
    let scratch = Scratch::new("rotation-cancelled");
    let mut members = three(&scratch);
    let before = file(&members[0].path, "authority").unwrap();
    let third = members.pop().unwrap().stop();
    wait_until("the node is missed", || members.iter().all(|member| reaches(member, 2)));
    let refused = members[0].cluster.rotate_authority().unwrap_err();
    assert!(matches!(refused, ClusterError::CannotRotate { .. }), "{refused}");
    assert!(refused.to_string().contains("node-3") && refused.to_string().contains("--lost"), "{refused}");
    obstruct(&third, TRUSTING);
    members.push(Member::open(third));
    wait_until("all are there", || members.iter().all(|member| reaches(member, 3)));
    members[0].cluster.rotate_authority().unwrap();
    wait_for(&members[1], false, &["node-3"]);
    members[1].cluster.cancel_rotation().unwrap();
    members[1].cluster.cancel_rotation().unwrap_err();
    // The authority of before is in force, also for who joins.
    let token = members[0].cluster.token(TOKEN_VALIDITY).unwrap();
    members.push(Member::join(scratch.0.join("4"), &token));
    wait_until("all are members", || {
        let nodes = members[0].cluster.report().nodes;
        nodes.len() == 4 && nodes.iter().all(|node| node.is_reachable && node.standing == NodeStanding::Member)
    });
    assert_eq!(file(&members[0].path, "authority"), Some(before.clone()));
    let third = members.remove(2).stop();
    clear(&third, TRUSTING);
    members.insert(2, Member::open(third));
    wait_until("all are there", || members.iter().all(|member| reaches(member, 4)));
    members[3].cluster.rotate_authority().unwrap();
    wait_changed(&members, &before);
    let again = file(&members[0].path, "authority").unwrap();
    members[2].cluster.rotate_authority().unwrap();
    wait_changed(&members, &again);
    members.into_iter().for_each(|member| drop(member.stop()));
}

/// What a node finds on its disk that was killed between two writes of a step.
#[test]
fn steps_that_were_cut_short_are_taken_again() {
    let scratch = Scratch::new("rotation-cut");
    let mut members = three(&scratch);
    let before = file(&members[0].path, "authority").unwrap();
    let old = file(&members[1].path, "node").unwrap();
    obstruct(&members[2].path, SHOWING);
    members[0].cluster.rotate_authority().unwrap();
    wait_for(&members[0], true, &["node-3"]);
    // Noted what it will trust on, and not yet shown the new certificate.
    let second = members.remove(1).stop();
    let former = file(&second, SHOWING).unwrap();
    fs::write(second.join("cluster/node"), &old).unwrap();
    members.insert(1, Member::open(second));
    wait_until("it shows the new one", || file(&members[1].path, "node").is_some_and(|own| own != old));
    wait_until("all are there", || members.iter().all(|member| reaches(member, 3)));
    let third = members.pop().unwrap().stop();
    clear(&third, SHOWING);
    members.push(Member::open(third));
    wait_changed(&members, &before);
    // The change is over, and not all that is left of it was removed.
    let second = members.remove(1).stop();
    let next = file(&second, "authority").unwrap();
    fs::write(second.join("cluster/authority"), &before).unwrap();
    fs::write(second.join("cluster").join(TRUSTING), &next).unwrap();
    fs::write(second.join("cluster").join(SHOWING), &former).unwrap();
    members.insert(1, Member::open(second));
    wait_changed(&members, &before);
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_cluster_of_one_takes_up_another_authority() {
    let scratch = Scratch::new("rotation-one");
    let members = vec![Member::found(scratch.0.join("1"))];
    let before = file(&members[0].path, "authority").unwrap();
    members[0].cluster.rotate_authority().unwrap();
    wait_changed(&members, &before);
    wait_until("it is told", || {
        members[0].cluster.events(0).0.iter().any(|told| told.event.kind == kind::AUTHORITY_CHANGED)
    });
    members.into_iter().for_each(|member| drop(member.stop()));
}
