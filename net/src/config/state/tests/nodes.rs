use super::*;

fn join(token: TokenId, number: u64, now_ms: u64) -> Command {
    Command::Join { token, secret_hash: SECRET, node: new_node(number), now_ms }
}

#[test]
fn a_token_lets_in_one_node() {
    let mut configuration = cluster(1);
    let token = token(&mut configuration);
    assert_eq!(done(&mut configuration, join(token, 2, 3)), Outcome::Node(NodeId(2)));
    assert_eq!(configuration.node(NodeId(2)).unwrap().state, NodeState::Joining);
    assert_eq!(configuration.tokens().next().unwrap().used_by, Some(NodeId(2)));
    refused(&mut configuration, join(token, 3, 3), "the token was used by node 2: make another");
}

#[test]
fn a_token_is_good_for_its_secret_and_its_time() {
    let mut configuration = cluster(1);
    let token = token(&mut configuration);
    let guess = Command::Join { token, secret_hash: [8; 32], node: new_node(2), now_ms: 3 };
    refused(&mut configuration, guess, "the token is not valid");
    refused(&mut configuration, join(TokenId(7), 2, 3), "the token is not valid");
    refused(&mut configuration, join(token, 2, 100), "the token has expired: make another");
    done(&mut configuration, join(token, 2, 99));
    let old = Command::CreateToken { secret_hash: SECRET, expires_ms: 5, now_ms: 5 };
    refused(&mut configuration, old, "the time it expires at has passed already");
    // Expired ones are forgotten, and their ids with them.
    let next = Command::CreateToken { secret_hash: SECRET, expires_ms: 200, now_ms: 100 };
    assert_eq!(done(&mut configuration, next), Outcome::Token(TokenId(2)));
    assert_eq!(configuration.tokens().count(), 1);
    done(&mut configuration, Command::RemoveToken { token: TokenId(2) });
    refused(&mut configuration, Command::RemoveToken { token: TokenId(2) }, "the token is not valid");
}

#[test]
fn tokens_are_bounded_by_those_that_are_good() {
    let mut configuration = cluster(1);
    let create = |now_ms: u64| Command::CreateToken { secret_hash: SECRET, expires_ms: now_ms + 10, now_ms };
    for _ in 0..TOKENS_MAX {
        done(&mut configuration, create(0));
    }
    refused(&mut configuration, create(9), "the cluster has as many tokens as it can");
    done(&mut configuration, create(10));
    assert_eq!(configuration.tokens().count(), 1);
}

#[test]
fn a_token_is_not_used_up_by_a_node_that_is_refused() {
    let mut configuration = cluster(2);
    let token = token(&mut configuration);
    refused(&mut configuration, join(token, 2, 3), "there is a node called node-2 already");
    let mut node = new_node(3);
    node.addresses.clear();
    let nowhere = Command::Join { token, secret_hash: SECRET, node, now_ms: 3 };
    refused(&mut configuration, nowhere, "a node has 1 to 8 addresses");
    done(&mut configuration, join(token, 3, 3));
}

#[test]
fn a_file_and_a_certificate_belong_to_one_node_even_after_it_is_gone() {
    let mut configuration = cluster(2);
    done(&mut configuration, Command::DrainNode { node: NodeId(2) });
    done(&mut configuration, Command::RemoveNode { node: NodeId(2) });
    let token = token(&mut configuration);
    let join = |node: NewNode| Command::Join { token, secret_hash: SECRET, node, now_ms: 3 };
    let certificate = new_node(3).certificate;
    let words = "configuration file 02020202020202020202020202020202 belongs to node 2: a node that joins starts with a \
                 new one";
    refused(&mut configuration, join(NewNode { certificate, ..new_node(2) }), words);
    let store = new_node(3).store;
    refused(&mut configuration, join(NewNode { store, ..new_node(2) }), "the certificate belongs to node 2");
    // The name is free, the id is not.
    let again = NewNode { store, certificate, ..new_node(2) };
    assert_eq!(done(&mut configuration, join(again)), Outcome::Node(NodeId(3)));
    assert_eq!(configuration.node(NodeId(2)).unwrap().state, NodeState::Removed);
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
fn a_node_that_holds_something_stays() {
    let mut configuration = with_volume();
    done(&mut configuration, Command::DrainNode { node: NodeId(3) });
    let remove = Command::RemoveNode { node: NodeId(3) };
    let words = "node 3 still holds 1 volumes, among them volume 1: move them away first";
    refused(&mut configuration, remove.clone(), words);
    done(&mut configuration, Command::RemoveMember { volume: VolumeId(1), epoch: Epoch(1), member: NodeId(3) });
    done(&mut configuration, remove);
}

#[test]
fn what_a_node_says_about_itself_can_change() {
    let mut configuration = cluster(2);
    let id = NodeId(2);
    let moved = Command::MoveNode { node: id, addresses: vec![text("[::1]:1")], zone: text("cellar") };
    done(&mut configuration, moved);
    done(&mut configuration, Command::RenameNode { node: id, name: name("second") });
    let certificate = Certificate { serial: 77, fingerprint: [77; 32] };
    done(&mut configuration, Command::RenewCertificate { node: id, certificate });
    let about = &configuration.node(id).unwrap().about;
    assert_eq!((about.name.as_str(), about.zone.as_str()), ("second", "cellar"));
    assert_eq!(about.certificate, certificate);
    let taken = Command::RenameNode { node: id, name: name("node-1") };
    refused(&mut configuration, taken, "there is a node called node-1 already");
    let stolen = Command::RenewCertificate { node: id, certificate: new_node(1).certificate };
    refused(&mut configuration, stolen, "the certificate belongs to node 1");
}
