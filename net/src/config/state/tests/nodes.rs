use super::*;

#[test]
fn a_node_describes_itself_before_it_takes_part() {
    let mut configuration = cluster(1);
    let id = joining(&mut configuration, 2);
    let about = &configuration.node(id).unwrap().about;
    assert_eq!((about.name.as_str(), about.addresses.len(), about.store), ("node-2", 0, None));
    refused(&mut configuration, Command::AdmitNode { node: id }, "node 2 has not said yet where it is");
    let taken = About { name: name("node-1"), ..new_node(2) };
    refused(&mut configuration, describe(id, &taken), "there is a node called node-1 already");
    let nowhere = About { addresses: Vec::new(), ..new_node(2) };
    refused(&mut configuration, describe(id, &nowhere), "a node has 1 to 8 addresses");
    let named = About { name: name("basalt"), ..new_node(2) };
    for _ in 0..2 {
        done(&mut configuration, describe(id, &named));
    }
    assert_eq!(configuration.node(id).unwrap().about, named);
    done(&mut configuration, Command::AdmitNode { node: id });
    refused(&mut configuration, describe(NodeId(9), &new_node(9)), "there is no node 9");
}

#[test]
fn a_new_node_gets_a_name_that_is_free() {
    let mut configuration = cluster(1);
    done(&mut configuration, Command::RenameNode { node: NodeId(1), name: name("node-2") });
    let id = joining(&mut configuration, 2);
    assert_eq!(configuration.node(id).unwrap().about.name, name("node-2-2"));
}

#[test]
fn a_file_and_a_key_belong_to_one_node_even_after_it_is_gone() {
    let mut configuration = cluster(2);
    done(&mut configuration, Command::DrainNode { node: NodeId(2) });
    done(&mut configuration, Command::RemoveNode { node: NodeId(2) });
    let token = token(&mut configuration);
    refused(&mut configuration, Command::Join { token, key: key(2), now_ms: 3 }, "the key belongs to node 2");
    let id = joining(&mut configuration, 3);
    let words = "configuration file 02020202020202020202020202020202 belongs to node 2: a node that joins starts with a \
                 new one";
    // The name is free, the file and the id are not.
    refused(&mut configuration, describe(id, &new_node(2)), words);
    done(&mut configuration, describe(id, &About { store: new_node(3).store, ..new_node(2) }));
    assert_eq!(id, NodeId(3));
    assert_eq!(configuration.node(NodeId(2)).unwrap().state, NodeState::Removed);
    let words = "node 3 has another configuration file: a node whose file was lost joins as a new one";
    refused(&mut configuration, describe(id, &new_node(4)), words);
}

#[test]
fn a_node_goes_from_joining_to_removed_and_not_back() {
    let mut configuration = cluster(2);
    let id = NodeId(2);
    refused(
        &mut configuration,
        Command::AdmitNode { node: id },
        "node 2 is a member: this is for nodes that are joining",
    );
    refused(
        &mut configuration,
        Command::RemoveNode { node: id },
        "node 2 is a member: this is for nodes that are draining or joining",
    );
    done(&mut configuration, Command::DrainNode { node: id });
    done(&mut configuration, Command::ResumeNode { node: id });
    done(&mut configuration, Command::DrainNode { node: id });
    done(&mut configuration, Command::RemoveNode { node: id });
    for command in [Command::ResumeNode { node: id }, Command::AdmitNode { node: id }] {
        assert!(configuration.clone().apply(&command).is_err(), "{command:?}");
    }
    refused(&mut configuration, Command::DrainNode { node: id }, "there is no node 2");
    refused(
        &mut configuration,
        Command::DrainNode { node: NodeId(1) },
        "node 1 is the only member: a cluster keeps one",
    );
}

#[test]
fn a_node_that_holds_something_or_shall_stays() {
    let mut configuration = with_volume();
    done(&mut configuration, Command::DrainNode { node: NodeId(3) });
    let remove = Command::RemoveNode { node: NodeId(3) };
    let words = "node 3 still holds 1 volumes, among them volume 1: move them away first";
    refused(&mut configuration, remove.clone(), words);
    done(&mut configuration, change(1, next(2, &[(1, 1), (2, 1)])));
    refused(&mut configuration, remove.clone(), words);
    done(&mut configuration, Command::PlaceReplicas { volume: VolumeId(1), nodes: [1, 2, 4].map(NodeId).to_vec() });
    done(&mut configuration, remove);
}

#[test]
fn a_lost_node_is_forgotten_unless_it_had_the_last_replica() {
    let mut configuration = with_volume();
    let forget = |node: u64| Command::ForgetNode { node: NodeId(node) };
    done(&mut configuration, forget(3));
    let set = |configuration: &Configuration| configuration.volume(VolumeId(1)).unwrap().replicas.clone();
    assert!(set(&configuration).is_member(NodeId(3)), "replication removes it");
    assert_eq!(set(&configuration).placement, [1, 2].map(NodeId));
    refused(&mut configuration, forget(3), "there is no node 3");
    done(&mut configuration, forget(1));
    assert_eq!(set(&configuration).placement, [NodeId(2)]);
    let words = "node 2 is all that is left of volume 1: remove the volume first if it is lost";
    refused(&mut configuration, forget(2), words);
    // Neither of the two can become primary any more, or stay it.
    let gone = change(1, next(2, &[(1, 1), (2, 1), (3, 1)]));
    refused(&mut configuration, gone, "there is no node 1");
    done(&mut configuration, change(1, next(2, &[(2, 1), (3, 1)])));
    done(&mut configuration, Command::DeleteVolume { volume: VolumeId(1), with_snapshots: true });
    done(&mut configuration, forget(2));
    refused(&mut configuration, forget(4), "node 4 is the only member: a cluster keeps one");
}

#[test]
fn a_volume_whose_only_new_place_is_lost_stays_where_it_is() {
    let mut configuration = cluster(3);
    let copies = Copies::of(1);
    done(&mut configuration, Command::CreateVolume(NewVolume { copies, ..new_volume("db", &[1]) }));
    done(&mut configuration, Command::PlaceReplicas { volume: VolumeId(1), nodes: vec![NodeId(3)] });
    done(&mut configuration, Command::ForgetNode { node: NodeId(3) });
    assert_eq!(configuration.volume(VolumeId(1)).unwrap().replicas.placement, [NodeId(1)]);
}

#[test]
fn what_a_node_says_about_itself_can_change() {
    let mut configuration = cluster(2);
    let id = NodeId(2);
    let moved = Command::MoveNode { node: id, addresses: vec![text("[::1]:1")], zone: text("cellar") };
    done(&mut configuration, moved);
    done(&mut configuration, Command::RenameNode { node: id, name: name("second") });
    done(&mut configuration, Command::RenewKey { node: id, key: key(77) });
    let about = &configuration.node(id).unwrap().about;
    assert_eq!((about.name.as_str(), about.zone.as_str()), ("second", "cellar"));
    assert_eq!(about.key, key(77));
    let taken = Command::RenameNode { node: id, name: name("node-1") };
    refused(&mut configuration, taken, "there is a node called node-1 already");
    let stolen = Command::RenewKey { node: id, key: key(1) };
    refused(&mut configuration, stolen, "the key belongs to node 1");
}
