use super::*;

const VOLUME: VolumeId = VolumeId(1);

fn set(configuration: &Configuration) -> &ReplicaSet {
    &configuration.volume(VOLUME).unwrap().replicas
}

fn remove(epoch: u64, member: u64) -> Command {
    Command::RemoveMember { volume: VOLUME, epoch: Epoch(epoch), member: NodeId(member) }
}

fn promote(epoch: u64, primary: u64, drop_old: bool) -> Command {
    Command::PromotePrimary { volume: VOLUME, epoch: Epoch(epoch), primary: NodeId(primary), drop_old }
}

fn catch_up(epoch: u64, node: u64) -> Command {
    Command::StartCatchUp { volume: VOLUME, epoch: Epoch(epoch), node: NodeId(node) }
}

fn add(epoch: u64, member: u64) -> Command {
    Command::AddMember { volume: VOLUME, epoch: Epoch(epoch), member: NodeId(member) }
}

#[test]
fn of_two_that_decide_from_the_same_epoch_the_first_counts() {
    let mut configuration = with_volume();
    assert_eq!(done(&mut configuration, remove(1, 2)), Outcome::Epoch(Epoch(2)));
    refused(&mut configuration, remove(1, 3), "volume 1 is in epoch 2, not 1: look at it again");
    refused(&mut configuration, promote(1, 3, true), "volume 1 is in epoch 2, not 1: look at it again");
    refused(&mut configuration, remove(3, 3), "volume 1 is in epoch 2, not 3: look at it again");
    assert_eq!(set(&configuration).members, [NodeId(1), NodeId(3)]);
}

#[test]
fn a_primary_that_failed_is_replaced_and_dropped_at_once() {
    let mut configuration = with_volume();
    refused(&mut configuration, remove(1, 1), "node 1 is the primary of volume 1: promote another member first");
    refused(&mut configuration, promote(1, 4, true), "node 4 is no member of volume 1");
    refused(&mut configuration, promote(1, 1, true), "node 1 is the primary of volume 1: promote another member first");
    assert_eq!(done(&mut configuration, promote(1, 2, true)), Outcome::Epoch(Epoch(2)));
    assert_eq!(set(&configuration).primary, NodeId(2));
    assert_eq!(set(&configuration).members, [NodeId(2), NodeId(3)]);
    // Handing over keeps both.
    assert_eq!(done(&mut configuration, promote(2, 3, false)), Outcome::Epoch(Epoch(3)));
    assert_eq!(set(&configuration).members, [NodeId(2), NodeId(3)]);
}

#[test]
fn a_node_becomes_a_member_only_after_it_has_caught_up() {
    let mut configuration = with_volume();
    refused(&mut configuration, add(1, 4), "node 4 is not catching up with volume 1");
    refused(&mut configuration, promote(1, 4, false), "node 4 is no member of volume 1");
    assert_eq!(done(&mut configuration, catch_up(1, 4)), Outcome::Epoch(Epoch(1)));
    refused(&mut configuration, catch_up(1, 4), "node 4 is in the replica set of volume 1 already");
    refused(&mut configuration, promote(1, 4, false), "node 4 is no member of volume 1");
    assert_eq!(done(&mut configuration, add(1, 4)), Outcome::Epoch(Epoch(2)));
    assert_eq!(set(&configuration).epoch, Epoch(2));
    assert_eq!(set(&configuration).members, [1, 2, 3, 4].map(NodeId));
    assert_eq!(set(&configuration).catching_up, []);
    // One may be too many while one is replaced, no more.
    let mut configuration = cluster(5);
    done(&mut configuration, Command::CreateVolume(new_volume("db", &[1, 2, 3])));
    done(&mut configuration, catch_up(1, 4));
    refused(&mut configuration, catch_up(1, 5), "5 nodes do not fit 3 copies of which 2 must be in sync");
    let stop = Command::StopCatchUp { volume: VOLUME, epoch: Epoch(1), node: NodeId(4) };
    done(&mut configuration, stop.clone());
    refused(&mut configuration, stop, "node 4 is not catching up with volume 1");
    done(&mut configuration, catch_up(1, 5));
}

#[test]
fn only_members_of_the_cluster_get_replicas() {
    let mut configuration = with_volume();
    done(&mut configuration, Command::DrainNode { node: NodeId(4) });
    refused(&mut configuration, catch_up(1, 4), "node 4 is draining: this is for nodes that are a member");
    refused(&mut configuration, catch_up(1, 9), "there is no node 9");
    let volume = Command::CreateVolume(new_volume("other", &[1, 4]));
    refused(&mut configuration, volume, "node 4 is draining: this is for nodes that are a member");
}

#[test]
fn the_number_of_copies_changes_within_what_there_is() {
    let mut configuration = with_volume();
    let copies =
        |replicas, in_sync_min| Command::SetCopies { volume: VOLUME, copies: Copies { replicas, in_sync_min } };
    refused(&mut configuration, copies(1, 1), "3 nodes do not fit 1 copies of which 1 must be in sync");
    done(&mut configuration, copies(2, 2));
    for (replicas, in_sync_min) in [(0, 0), (3, 0), (3, 4), (8, 4)] {
        let words = format!(
            "{replicas} copies of which {in_sync_min} must be in sync make no sense: it is 1 to 7, and not more in sync than \
             there are"
        );
        refused(&mut configuration, copies(replicas, in_sync_min), &words);
    }
    assert_eq!(Copies::of(3), Copies { replicas: 3, in_sync_min: 2 });
    assert_eq!(Copies::of(1), Copies { replicas: 1, in_sync_min: 1 });
}
