//! Keys and certificates of nodes: who has the authority's, what is renewed, and who may speak.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use blockdev::cluster::ClusterError;

use super::*;

const DAYS: u64 = 24 * 3600;

/// Time that a test can let pass; pauses stay what they are.
struct Shifted {
    system: SystemClock,
    by_s: AtomicU64,
}

impl Shifted {
    fn new() -> Arc<Self> {
        Arc::new(Self { system: SystemClock::new(), by_s: AtomicU64::new(0) })
    }

    fn pass(&self, days: u64) {
        self.by_s.fetch_add(days * DAYS, Ordering::Relaxed);
    }
}

impl Clock for Shifted {
    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    fn wall(&self) -> Duration {
        self.system.wall() + Duration::from_secs(self.by_s.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) {
        self.system.sleep(duration);
    }
}

fn found_at(path: PathBuf, clock: &Arc<Shifted>) -> Member {
    let node = open_node_at(&path, Arc::clone(clock) as Arc<dyn Clock>);
    let cluster = Cluster::found(&place(&path), &node).unwrap();
    Member::new(path, node, cluster)
}

fn join_at(path: PathBuf, token: &str, clock: &Arc<Shifted>) -> Member {
    let node = open_node_at(&path, Arc::clone(clock) as Arc<dyn Clock>);
    let cluster = Cluster::join(&place(&path), token, &node).unwrap();
    Member::new(path, node, cluster)
}

fn reopen(path: PathBuf, clock: &Arc<Shifted>) -> Result<Member, ClusterError> {
    let node = open_node_at(&path, Arc::clone(clock) as Arc<dyn Clock>);
    let place = Place { listen: None, ..place(&path) };
    let cluster = Cluster::open(&place, &node)?.unwrap();
    Ok(Member::new(path, node, cluster))
}

fn three_at(scratch: &Scratch, clock: &Arc<Shifted>) -> Vec<Member> {
    let mut members = vec![found_at(scratch.0.join("1"), clock)];
    for number in ["2", "3"] {
        let token = members[0].cluster.token(TOKEN_VALIDITY).unwrap();
        members.push(join_at(scratch.0.join(number), &token, clock));
    }
    members.iter().for_each(|member| wait_whole(member, 3));
    members
}

/// Waits until a node reaches so many members and has the authority.
fn wait_whole(member: &Member, count: usize) {
    wait_until("all nodes are members and reached", || {
        let nodes = member.cluster.report().nodes;
        nodes.len() == count && nodes.iter().all(|node| node.is_reachable && node.standing == NodeStanding::Member)
    });
    wait_until("the node has the cluster's key", || member.path.join("cluster/authority").exists());
}

/// The node's key and certificate as they are on disk.
fn own(path: &Path) -> Vec<u8> {
    fs::read(path.join("cluster/node")).unwrap()
}

/// Lets as many days pass and waits until everybody has another key, and reaches everybody with it.
fn pass_and_renew(members: &[Member], clock: &Shifted, days: u64) {
    let before: Vec<_> = members.iter().map(|member| own(&member.path)).collect();
    clock.pass(days);
    let reaches_all = |member: &Member| {
        member.cluster.report().nodes.iter().filter(|node| node.is_reachable).count() >= members.len()
    };
    wait_until("all keys are renewed", || {
        members.iter().zip(&before).all(|(member, before)| own(&member.path) != *before && reaches_all(member))
    });
}

#[test]
fn the_cluster_outlives_the_node_that_made_it() {
    let scratch = Scratch::new("keys-founder");
    let mut members = cluster_of(&scratch, 3);
    for member in &members {
        wait_whole(member, 3);
        let mode = fs::metadata(member.path.join("cluster/authority")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::remove_dir_all(members.remove(0).stop()).unwrap();
    members[0].cluster.remove_node("1", true).unwrap();
    let token = members[1].cluster.token(TOKEN_VALIDITY).unwrap();
    let new = Member::join(scratch.0.join("4"), &token);
    // Asked at once, it waits until it has been given the key.
    let token = new.cluster.token(TOKEN_VALIDITY).unwrap();
    let newest = Member::join(scratch.0.join("5"), &token);
    wait_whole(&newest, 4);
    members.into_iter().chain([new, newest]).for_each(|member| drop(member.stop()));
}

#[test]
fn keys_are_renewed_while_clients_go_on() {
    let scratch = Scratch::new("keys-renewed");
    let clock = Shifted::new();
    let mut members = three_at(&scratch, &clock);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let export = members[0].open_volume("db");
    for round in 1..=2 {
        pass_and_renew(&members, &clock, 61);
        write(&export, 0, round, 4096);
        export.flush().unwrap();
    }
    // 122 days on, nobody would get in with the first certificate any more.
    let path = members.pop().unwrap().stop();
    members.push(reopen(path, &clock).unwrap());
    members.iter().for_each(|member| wait_whole(member, 3));
    members[2].wait_healthy("db");
    assert_eq!(read(&members[2].open_volume("db"), 0, 4096), [2; 4096]);
    drop(export);
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_node_that_was_off_for_long_comes_back() {
    let scratch = Scratch::new("keys-off");
    let clock = Shifted::new();
    let mut members = three_at(&scratch, &clock);
    let path = members.remove(1).stop();
    // What it knows of the others is twice out of date, and its own certificate has ended.
    pass_and_renew(&members, &clock, 61);
    pass_and_renew(&members, &clock, 61);
    let back = reopen(path, &clock).unwrap();
    wait_whole(&back, 3);
    pass_and_renew(std::slice::from_ref(&back), &clock, 61);
    back.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_node_that_cannot_help_itself_says_what_to_do() {
    let scratch = Scratch::new("keys-ended");
    let clock = Shifted::new();
    let mut members = three_at(&scratch, &clock);
    let path = members.remove(1).stop();
    fs::remove_file(path.join("cluster/authority")).unwrap();
    clock.pass(91);
    let refused = reopen(path, &clock).err().unwrap();
    assert!(matches!(refused, ClusterError::Expired), "{refused}");
    assert!(refused.to_string().contains("silt node rm NAME --lost"), "{refused}");
    members.into_iter().for_each(|member| drop(member.stop()));
}

/// The node stopped after the cluster had agreed on its next key, and before it knew.
#[test]
fn a_renewal_that_was_cut_short_is_ended_at_the_next_start() {
    let scratch = Scratch::new("keys-cut");
    let clock = Shifted::new();
    let mut members = three_at(&scratch, &clock);
    let before = own(&members[1].path);
    pass_and_renew(&members, &clock, 61);
    let path = members.remove(1).stop();
    let renewed = own(&path);
    fs::write(path.join("cluster/node"), before).unwrap();
    let back = reopen(path, &clock).unwrap();
    wait_whole(&back, 3);
    wait_until("the next key counts", || own(&back.path) == renewed);
    back.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_removed_node_has_no_say_and_its_invitations_are_void() {
    let scratch = Scratch::new("keys-removed");
    let mut members = cluster_of(&scratch, 3);
    members.iter().for_each(|member| wait_whole(member, 3));
    let unused = members[0].cluster.token(TOKEN_VALIDITY).unwrap();
    members[0].cluster.remove_node("3", true).unwrap();
    let removed = members.remove(2);
    let is_alone = |member: &Member| {
        let nodes = member.cluster.report().nodes;
        nodes.iter().all(|node| node.is_reachable == (node.id == 3))
    };
    wait_until("nobody speaks to it", || is_alone(&removed));
    assert!(removed.cluster.token(TOKEN_VALIDITY).is_err());
    // It has the authority's key, and knows all the others: that helps it to nothing.
    let removed = Member::open(removed.stop());
    let clock = SystemClock::new();
    while clock.monotonic() < Duration::from_secs(3) {
        assert!(is_alone(&removed));
        clock.sleep(Duration::from_millis(50));
    }
    let path = scratch.0.join("4");
    let node = open_node(&path);
    assert!(matches!(Cluster::join(&place(&path), &unused, &node), Err(ClusterError::Join(_))));
    node.store().close().unwrap();
    removed.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}
