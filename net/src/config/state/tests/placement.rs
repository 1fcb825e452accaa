use super::*;

/// Nodes 1 to 6, two in each of three zones: 1 and 4 in rack-1, 2 and 5 in rack-2, 3 and 6 in rack-0.
fn six() -> Configuration {
    cluster(6)
}

fn chosen(configuration: &Configuration, copies: u8, prefer: Option<u64>) -> Vec<u64> {
    let nodes = choose_placement(configuration, Copies::of(copies), prefer.map(NodeId)).unwrap();
    nodes.into_iter().map(|node| node.0).collect()
}

fn create(configuration: &mut Configuration, called: &str, nodes: &[u64]) {
    done(configuration, Command::CreateVolume(NewVolume { copies: Copies::of(3), ..new_volume(called, nodes) }));
}

#[test]
fn zones_count_before_replicas_and_those_before_ids() {
    let mut configuration = six();
    assert_eq!(chosen(&configuration, 3, None), [1, 2, 3]);
    assert_eq!(chosen(&configuration, 3, Some(4)), [4, 2, 3]);
    assert_eq!(chosen(&configuration, 5, None), [1, 2, 3, 4, 5]);
    create(&mut configuration, "a", &[1, 2]);
    assert_eq!(chosen(&configuration, 3, None), [3, 4, 5], "the fewest replicas, in other zones");
    create(&mut configuration, "b", &[3, 6]);
    create(&mut configuration, "c", &[3, 6]);
    assert_eq!(chosen(&configuration, 3, None), [4, 5, 3], "another zone, though its nodes have more");
}

#[test]
fn a_node_without_a_zone_fails_alone() {
    let mut configuration = cluster(3);
    let nowhere = |number: u64| describe(NodeId(number), &About { zone: text(""), ..new_node(number) });
    for number in 1..=3 {
        done(&mut configuration, nowhere(number));
    }
    assert_eq!(chosen(&configuration, 2, None), [1, 2]);
    assert_eq!(chosen(&configuration, 3, Some(3)), [3, 1, 2]);
}

#[test]
fn only_nodes_that_take_replicas_are_chosen_and_as_many_as_there_are() {
    let mut configuration = cluster(4);
    done(&mut configuration, Command::DrainNode { node: NodeId(1) });
    assert_eq!(chosen(&configuration, 3, Some(1)), [2, 3, 4]);
    done(&mut configuration, Command::DrainNode { node: NodeId(2) });
    assert_eq!(chosen(&configuration, 3, None), [3, 4], "two are enough to begin with");
    done(&mut configuration, Command::DrainNode { node: NodeId(3) });
    let error = choose_placement(&configuration, Copies::of(3), None).unwrap_err();
    assert_eq!(error.to_string(), "1 nodes do not fit 3 copies of which 2 must be in sync");
    let nonsense = Copies { replicas: 0, in_sync_min: 0 };
    assert_eq!(choose_placement(&configuration, nonsense, None), Err(Rejection::Copies(nonsense)));
}

#[test]
fn a_replacement_is_in_a_zone_of_its_own_and_not_where_a_replica_is() {
    let mut configuration = six();
    create(&mut configuration, "a", &[1, 2, 3]);
    let instead = |configuration: &Configuration, of: u64| choose_replacement(configuration, VolumeId(1), NodeId(of));
    assert_eq!(instead(&configuration, 2), Some(NodeId(5)));
    assert_eq!(instead(&configuration, 3), Some(NodeId(6)));
    done(&mut configuration, Command::DrainNode { node: NodeId(5) });
    assert_eq!(instead(&configuration, 2), Some(NodeId(4)), "another zone has none that is free");
    for node in [4, 6] {
        done(&mut configuration, Command::DrainNode { node: NodeId(node) });
    }
    assert_eq!(instead(&configuration, 2), None);
    assert_eq!(choose_replacement(&configuration, VolumeId(9), NodeId(2)), None);
}
