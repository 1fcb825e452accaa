use std::collections::BTreeSet;

use super::*;

/// Members in these zones, numbered from 1; "" is a node without one.
fn nodes(zones: &[&str]) -> Vec<Node> {
    let node = |(number, zone): (u64, &&str)| Node {
        id: NodeId(number),
        state: NodeState::Member,
        joined_ms: 0,
        about: About { zone: text(zone), ..new_node(number) },
    };
    (1..).zip(zones).map(node).collect()
}

fn chosen(nodes: &[Node]) -> Vec<u64> {
    choose_voters(nodes.iter()).into_iter().map(|id| id.0).collect()
}

#[test]
fn voters_are_odd_in_number_and_at_most_seven() {
    for (count, voters) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (8, 7), (20, 7)] {
        assert_eq!(chosen(&nodes(&vec![""; count])).len(), voters, "of {count}");
    }
    assert_eq!(chosen(&nodes(&[""; 9])), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn voters_are_spread_so_that_no_zone_holds_half_of_them() {
    assert_eq!(chosen(&nodes(&["a", "a", "a", "b", "b", "b", "c", "c", "c"])), [1, 2, 3, 4, 5, 7, 8]);
    // Five of one zone among seven would outweigh the others: three do better.
    assert_eq!(chosen(&nodes(&["a", "a", "a", "a", "a", "b", "c"])), [1, 6, 7]);
    assert_eq!(chosen(&nodes(&["a", "a", "b", "b", "c"])), [1, 2, 3, 4, 5]);
    // Of two zones one always weighs more; then as many as can be.
    assert_eq!(chosen(&nodes(&["a", "a", "a", "b", "b"])), [1, 2, 3, 4, 5]);
    assert_eq!(chosen(&nodes(&["a", "a", "a"])), [1, 2, 3]);
}

#[test]
fn only_members_vote() {
    let mut all = nodes(&[""; 5]);
    all[0].state = NodeState::Draining;
    all[1].state = NodeState::Joining;
    all[2].state = NodeState::Removed;
    assert_eq!(chosen(&all), [4, 5]);
}

fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

fn step(configuration: &Configuration, voters: &[u64], learners: &[u64], up_to_date: &[u64]) -> Option<Step> {
    next_step(configuration, &Membership { voters: ids(voters), learners: ids(learners) }, &ids(up_to_date))
}

#[test]
fn a_node_learns_is_admitted_and_then_votes() {
    let mut configuration = cluster(2);
    joining(&mut configuration, 3);
    assert_eq!(step(&configuration, &[1, 2], &[], &[1, 2]), Some(Step::AddLearner(NodeId(3))));
    assert_eq!(step(&configuration, &[1, 2], &[3], &[1, 2]), None, "it is not up to date");
    assert_eq!(step(&configuration, &[1, 2], &[3], &[1, 2, 3]), None, "nobody knows which file it has");
    done(&mut configuration, describe(NodeId(3), &new_node(3)));
    assert_eq!(step(&configuration, &[1, 2], &[3], &[1, 2, 3]), Some(Step::Admit(NodeId(3))));
    done(&mut configuration, Command::AdmitNode { node: NodeId(3) });
    assert_eq!(step(&configuration, &[1, 2], &[3], &[1, 2]), None, "it is not up to date");
    assert_eq!(step(&configuration, &[1, 2], &[3], &[1, 3]), Some(Step::AddVoter(NodeId(3))));
    assert_eq!(step(&configuration, &[1, 2, 3], &[], &[1]), None);
}

#[test]
fn a_voter_goes_after_its_replacement_has_come() {
    let mut configuration = cluster(4);
    done(&mut configuration, Command::DrainNode { node: NodeId(2) });
    assert_eq!(step(&configuration, &[1, 2, 3], &[4], &[1, 4]), Some(Step::AddVoter(NodeId(4))));
    assert_eq!(step(&configuration, &[1, 2, 3, 4], &[], &[1]), Some(Step::RemoveVoter(NodeId(2))));
    // A node that is to go goes even if its replacement is not there.
    assert_eq!(step(&configuration, &[1, 2, 3], &[4], &[1]), Some(Step::RemoveVoter(NodeId(2))));
    done(&mut configuration, Command::RemoveNode { node: NodeId(2) });
    assert_eq!(step(&configuration, &[1, 3, 4], &[2], &[1]), Some(Step::RemoveLearner(NodeId(2))));
    assert_eq!(step(&configuration, &[1, 3, 4], &[], &[1]), None);
}

#[test]
fn nothing_changes_before_there_is_a_cluster() {
    assert_eq!(step(&Configuration::default(), &[1], &[], &[1]), None);
}
