use super::*;

const VOLUME: VolumeId = VolumeId(1);

fn set(configuration: &Configuration) -> &ReplicaSet {
    &configuration.volume(VOLUME).unwrap().replicas
}

fn members(configuration: &Configuration) -> Vec<(u64, u64)> {
    set(configuration).members.iter().map(|member| (member.node.0, member.since.0)).collect()
}

fn place(nodes: &[u64]) -> Command {
    Command::PlaceReplicas { volume: VOLUME, nodes: nodes.iter().copied().map(NodeId).collect() }
}

fn copies(replicas: u8, in_sync_min: u8, nodes: &[u64]) -> Command {
    let placement = nodes.iter().copied().map(NodeId).collect();
    Command::SetCopies { volume: VOLUME, copies: Copies { replicas, in_sync_min }, placement }
}

#[test]
fn of_two_that_decide_from_the_same_epoch_the_first_counts() {
    let mut configuration = with_volume();
    let first = change(1, next(2, &[(1, 1), (3, 1)]));
    assert_eq!(done(&mut configuration, first.clone()), Outcome::Epoch(Epoch(2)));
    refused(&mut configuration, first, "volume 1 is in epoch 2, not 1: look at it again");
    let far = change(1, next(4, &[(1, 1), (3, 1)]));
    refused(&mut configuration, far, "volume 1 is in epoch 2, not 3: look at it again");
    assert_eq!(members(&configuration), [(1, 1), (3, 1)]);
    refused(&mut configuration, change(9, next(2, &[(1, 1)])), "there is no volume 9");
}

#[test]
fn what_replication_proposes_is_kept_as_it_is_in_the_order_of_nodes() {
    let mut configuration = with_volume();
    let proposed = replication::Configuration { loss: Epoch(2), ..next(2, &[(3, 1), (1, 1)]) };
    done(&mut configuration, change(1, proposed));
    let kept = replication::Configuration::from(set(&configuration));
    assert_eq!((kept.epoch, kept.primary, kept.loss), (Epoch(2), NodeId(3), Epoch(2)));
    assert_eq!(members(&configuration), [(1, 1), (3, 1)]);
    // A loss is remembered.
    done(&mut configuration, change(1, replication::Configuration { loss: Epoch(2), ..next(3, &[(3, 1), (1, 1)]) }));
    for loss in [0, 1, 3] {
        let wrong = replication::Configuration { loss: Epoch(loss), ..next(4, &[(3, 1), (1, 1)]) };
        refused(&mut configuration, change(1, wrong), "volume 1 has had no loss in that epoch");
    }
}

#[test]
fn only_a_member_becomes_primary() {
    let mut configuration = with_volume();
    done(&mut configuration, place(&[1, 2, 4]));
    let words = "node 4 is no member of volume 1";
    refused(&mut configuration, change(1, next(2, &[(4, 2), (1, 1), (2, 1), (3, 1)])), words);
    let stranger = replication::Configuration { primary: NodeId(3), ..next(2, &[(1, 1), (2, 1)]) };
    refused(&mut configuration, change(1, stranger), "node 3 is no member of volume 1");
    let twice = next(2, &[(1, 1), (2, 1), (2, 1)]);
    refused(&mut configuration, change(1, twice), "the list names something twice, or nothing");
}

#[test]
fn a_member_says_truly_since_when_it_is_one() {
    let mut configuration = with_volume();
    done(&mut configuration, place(&[1, 2, 4]));
    let words = |node: u64| format!("node {node} has not been a member of volume 1 since the epoch it says");
    refused(&mut configuration, change(1, next(2, &[(1, 1), (2, 2), (3, 1)])), &words(2));
    refused(&mut configuration, change(1, next(2, &[(1, 1), (2, 1), (3, 1), (4, 1)])), &words(4));
    done(&mut configuration, change(1, next(2, &[(1, 1), (2, 1), (3, 1), (4, 2)])));
    done(&mut configuration, change(1, next(3, &[(1, 1), (2, 1), (4, 2)])));
    // Whoever comes back is a new member.
    done(&mut configuration, change(1, next(4, &[(1, 1), (4, 2)])));
    refused(&mut configuration, change(1, next(5, &[(1, 1), (2, 1), (4, 2)])), &words(2));
    done(&mut configuration, change(1, next(5, &[(1, 1), (2, 5), (4, 2)])));
}

#[test]
fn nobody_is_added_who_shall_not_hold_the_volume() {
    let mut configuration = with_volume();
    let with_four = change(1, next(2, &[(1, 1), (2, 1), (3, 1), (4, 2)]));
    refused(&mut configuration, with_four.clone(), "volume 1 is not placed on node 4");
    done(&mut configuration, place(&[1, 2, 4]));
    // It came to be drained while it was caught up; placement will say where else.
    done(&mut configuration, Command::DrainNode { node: NodeId(4) });
    done(&mut configuration, with_four);
}

#[test]
fn no_set_falls_below_what_must_acknowledge() {
    let mut configuration = with_volume();
    let words = "volume 1 would have 1 members, of 2 that must be in sync";
    refused(&mut configuration, change(1, next(2, &[(1, 1)])), words);
    done(&mut configuration, change(1, next(2, &[(1, 1), (2, 1)])));
    // More must be in sync than there are: they stay, and go on as they are.
    done(&mut configuration, copies(4, 3, &[1, 2, 3]));
    done(&mut configuration, change(1, next(3, &[(2, 1), (1, 1)])));
    let words = "volume 1 would have 1 members, of 3 that must be in sync";
    refused(&mut configuration, change(1, next(4, &[(2, 1)])), words);
}

#[test]
fn a_volume_moves_one_replica_at_a_time() {
    let mut configuration = cluster(5);
    done(&mut configuration, Command::CreateVolume(new_volume("db", &[1, 2, 3])));
    let words = "volume 1 would be on 5 nodes while it moves, of at most 4: move one replica at a time";
    refused(&mut configuration, place(&[1, 4, 5]), words);
    done(&mut configuration, place(&[2, 4, 1]));
    assert_eq!(set(&configuration).placement, [1, 2, 4].map(NodeId));
    done(&mut configuration, change(1, next(2, &[(1, 1), (2, 1), (3, 1), (4, 2)])));
    refused(&mut configuration, place(&[2, 4, 5]), words);
    done(&mut configuration, change(1, next(3, &[(1, 1), (2, 1), (4, 2)])));
    done(&mut configuration, place(&[2, 4, 5]));
    // A node that was lost counts no more, whether or not replication has noticed.
    done(&mut configuration, Command::ForgetNode { node: NodeId(1) });
    done(&mut configuration, place(&[2, 4, 3]));
    done(&mut configuration, place(&[3, 4, 5]));
    done(&mut configuration, change(1, next(4, &[(2, 1), (1, 1), (3, 4), (4, 2), (5, 4)])));
}

#[test]
fn members_do_not_pile_up() {
    let mut configuration = cluster(5);
    done(&mut configuration, Command::CreateVolume(new_volume("db", &[1, 2, 3])));
    done(&mut configuration, place(&[1, 2, 4]));
    done(&mut configuration, change(1, next(2, &[(1, 1), (2, 1), (3, 1), (4, 2)])));
    // Fewer copies: those there are may stay until they are removed, and no more come.
    done(&mut configuration, copies(2, 2, &[1, 2]));
    done(&mut configuration, change(1, next(3, &[(2, 1), (1, 1), (3, 1), (4, 2)])));
    done(&mut configuration, change(1, next(4, &[(2, 1), (1, 1), (3, 1)])));
    let words = "volume 1 would be on 4 nodes while it moves, of at most 3: move one replica at a time";
    refused(&mut configuration, place(&[1, 5]), words);
}

#[test]
fn only_members_of_the_cluster_get_replicas() {
    let mut configuration = with_volume();
    done(&mut configuration, Command::DrainNode { node: NodeId(4) });
    let words = "node 4 is draining: this is for nodes that are a member";
    refused(&mut configuration, place(&[1, 2, 4]), words);
    refused(&mut configuration, place(&[1, 2, 9]), "there is no node 9");
    refused(&mut configuration, place(&[1, 2, 2]), "the list names something twice, or nothing");
    refused(&mut configuration, place(&[1]), "1 nodes do not fit 3 copies of which 2 must be in sync");
    refused(&mut configuration, place(&[]), "0 nodes do not fit 3 copies of which 2 must be in sync");
    refused(&mut configuration, Command::CreateVolume(new_volume("other", &[1, 4])), words);
    // One that is drained keeps what it has until somebody says where it goes.
    done(&mut configuration, Command::DrainNode { node: NodeId(3) });
    done(&mut configuration, place(&[1, 3]));
}

#[test]
fn the_number_of_copies_comes_with_who_has_them() {
    let mut configuration = with_volume();
    refused(&mut configuration, copies(1, 1, &[1, 2]), "2 nodes do not fit 1 copies of which 1 must be in sync");
    done(&mut configuration, copies(1, 1, &[2]));
    assert_eq!(set(&configuration).placement, [NodeId(2)]);
    assert_eq!(configuration.volume(VOLUME).unwrap().copies, Copies { replicas: 1, in_sync_min: 1 });
    done(&mut configuration, copies(4, 2, &[1, 2, 3, 4]));
    for (replicas, in_sync_min) in [(0, 0), (3, 0), (3, 4), (8, 4)] {
        let words = format!(
            "{replicas} copies of which {in_sync_min} must be in sync make no sense: it is 1 to 7, and not more in sync than \
             there are"
        );
        refused(&mut configuration, copies(replicas, in_sync_min, &[1, 2, 3]), &words);
    }
    assert_eq!(Copies::of(3), Copies { replicas: 3, in_sync_min: 2 });
    assert_eq!(Copies::of(1), Copies { replicas: 1, in_sync_min: 1 });
}
