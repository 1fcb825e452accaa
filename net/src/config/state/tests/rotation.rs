use super::RotationStage::{Showing, Trusting};
use super::*;

fn stage(configuration: &Configuration) -> Option<RotationStage> {
    configuration.rotation().map(|rotation| rotation.stage)
}

fn awaited(configuration: &Configuration) -> Vec<u64> {
    configuration.awaited().map(|node| node.0).collect()
}

#[test]
fn all_trust_it_then_all_show_it_then_it_is_in_force() {
    let mut configuration = cluster(3);
    begin_rotation(&mut configuration, 2, 7);
    assert_eq!((stage(&configuration), awaited(&configuration)), (Some(Trusting), vec![1, 2, 3]));
    confirm_rotation(&mut configuration, 3, 7, Trusting);
    confirm_rotation(&mut configuration, 3, 7, Trusting);
    confirm_rotation(&mut configuration, 1, 7, Trusting);
    assert_eq!((stage(&configuration), awaited(&configuration)), (Some(Trusting), vec![2]));
    refused(&mut configuration, confirmation(NodeId(2), 7, Showing), "no such change of the authority is under way");
    confirm_rotation(&mut configuration, 2, 7, Trusting);
    assert_eq!((stage(&configuration), awaited(&configuration)), (Some(Showing), vec![1, 2, 3]));
    // What was said of the first step, and comes late, is not taken for the second.
    refused(&mut configuration, confirmation(NodeId(2), 7, Trusting), "no such change of the authority is under way");
    confirm_rotation(&mut configuration, 1, 7, Showing);
    confirm_rotation(&mut configuration, 3, 7, Showing);
    assert_eq!(configuration.authority(), None);
    confirm_rotation(&mut configuration, 2, 7, Showing);
    assert_eq!((stage(&configuration), awaited(&configuration)), (None, vec![]));
    assert_eq!(configuration.authority(), Some(&*certificate(7)));
    refused(&mut configuration, confirmation(NodeId(2), 7, Showing), "no such change of the authority is under way");
    // And again, with another.
    begin_rotation(&mut configuration, 1, 8);
    refused(&mut configuration, confirmation(NodeId(2), 7, Trusting), "no such change of the authority is under way");
    rotate(&mut configuration, 8);
    assert_eq!(configuration.authority(), Some(&*certificate(8)));
}

#[test]
fn one_authority_is_taken_up_at_a_time_and_nobody_joins_meanwhile() {
    let mut configuration = cluster(2);
    let begin = |node, certificate| Command::BeginRotation { node: NodeId(node), certificate };
    let rotating = "the cluster is taking up another authority: until that is done, which `silt cluster status` tells, it makes no \
                    tokens and takes up no other";
    joining(&mut configuration, 3);
    let still = "node 3 is still joining: wait until it is a member, or remove it with `silt node rm 3`";
    refused(&mut configuration, begin(1, certificate(7)), still);
    done(&mut configuration, Command::RemoveNode { node: NodeId(3) });
    let before = token(&mut configuration);
    refused(&mut configuration, begin(3, certificate(7)), "there is no node 3");
    refused(&mut configuration, begin(1, Vec::new()), "this is no certificate of a new authority");
    let long = vec![1; AUTHORITY_BYTES_MAX + 1];
    refused(&mut configuration, begin(1, long), "this is no certificate of a new authority");
    begin_rotation(&mut configuration, 1, 7);
    refused(&mut configuration, begin(2, certificate(8)), rotating);
    let join = Command::Join { token: before, key: key(9), now_ms: 3 };
    refused(&mut configuration, join.clone(), "the token is not valid");
    let create = Command::CreateToken { token: TokenId([9; 8]), key: kept(9), expires_ms: 100, now_ms: 3 };
    refused(&mut configuration, create.clone(), rotating);
    rotate(&mut configuration, 7);
    refused(&mut configuration, join, "the token is not valid");
    refused(&mut configuration, begin(1, certificate(7)), "this is no certificate of a new authority");
    done(&mut configuration, create);
}

#[test]
fn a_node_that_is_removed_is_not_waited_for() {
    let mut configuration = cluster(4);
    begin_rotation(&mut configuration, 1, 7);
    for node in [1, 2, 3] {
        confirm_rotation(&mut configuration, node, 7, Trusting);
    }
    done(&mut configuration, Command::ForgetNode { node: NodeId(4) });
    assert_eq!((stage(&configuration), awaited(&configuration)), (Some(Showing), vec![1, 2, 3]));
    refused(&mut configuration, confirmation(NodeId(4), 7, Showing), "there is no node 4");
    confirm_rotation(&mut configuration, 1, 7, Showing);
    confirm_rotation(&mut configuration, 2, 7, Showing);
    done(&mut configuration, Command::DrainNode { node: NodeId(3) });
    assert_eq!(awaited(&configuration), [3]);
    done(&mut configuration, Command::RemoveNode { node: NodeId(3) });
    assert_eq!((stage(&configuration), configuration.authority()), (None, Some(&*certificate(7))));
}

#[test]
fn an_authority_whose_key_is_lost_is_given_up() {
    let mut configuration = cluster(4);
    let before = configuration.authority().map(<[u8]>::to_vec);
    begin_rotation(&mut configuration, 1, 7);
    done(&mut configuration, Command::ForgetNode { node: NodeId(1) });
    assert_eq!((configuration.rotation(), configuration.authority()), (None, before.as_deref()));
    // Another node has the key too: it goes on, until that is lost as well.
    begin_rotation(&mut configuration, 2, 8);
    confirm_rotation(&mut configuration, 3, 8, Trusting);
    done(&mut configuration, Command::ForgetNode { node: NodeId(2) });
    assert_eq!((stage(&configuration), awaited(&configuration)), (Some(Trusting), vec![4]));
    done(&mut configuration, Command::ForgetNode { node: NodeId(3) });
    assert_eq!((configuration.rotation(), configuration.authority()), (None, before.as_deref()));
    begin_rotation(&mut configuration, 4, 9);
    rotate(&mut configuration, 9);
    assert_eq!(configuration.authority(), Some(&*certificate(9)));
}

#[test]
fn it_can_be_given_up_until_it_is_shown() {
    let mut configuration = cluster(2);
    let cancel = |authority| Command::CancelRotation { authority: Fingerprint::of(&certificate(authority)) };
    refused(&mut configuration, cancel(7), "no such change of the authority is under way");
    begin_rotation(&mut configuration, 1, 7);
    confirm_rotation(&mut configuration, 1, 7, Trusting);
    refused(&mut configuration, cancel(8), "no such change of the authority is under way");
    done(&mut configuration, cancel(7));
    assert_eq!((configuration.rotation(), configuration.authority()), (None, None));
    refused(&mut configuration, confirmation(NodeId(2), 7, Trusting), "no such change of the authority is under way");
    token(&mut configuration);
    begin_rotation(&mut configuration, 1, 8);
    confirm_rotation(&mut configuration, 1, 8, Trusting);
    confirm_rotation(&mut configuration, 2, 8, Trusting);
    let shown = "nodes show certificates of the new authority already: it cannot be given up any more";
    refused(&mut configuration, cancel(8), shown);
}
