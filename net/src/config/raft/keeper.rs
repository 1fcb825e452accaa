//! Keeps membership as the configuration wants it: while this node leads it makes one change after the other until nothing is
//! left to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::{ChangeMembers, EmptyNode};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::super::forms::{Members, Types};
use super::super::id::NodeId;
use super::super::state::{Command, Membership, Step, next_step};
use super::super::storage::View;
use super::timing::{KEEP_PERIOD, PROPOSE_TIMEOUT};

pub(super) type RaftMetrics = openraft::RaftMetrics<u64, EmptyNode>;

/// Runs until it is aborted, or the node stops.
pub(super) async fn keep(raft: Arc<openraft::Raft<Types>>, mut view: watch::Receiver<View>) {
    let mut metrics = raft.metrics();
    loop {
        let step = plan(&metrics.borrow_and_update(), &view.borrow_and_update());
        let was_made = match step {
            Some(step) => timeout(PROPOSE_TIMEOUT, make(&raft, step)).await.is_ok_and(|made| made.is_ok()),
            None => false,
        };
        if was_made {
            continue;
        }
        // After a failure the next change of something may help; the pause keeps it from being tried at once.
        if step.is_some() {
            sleep(KEEP_PERIOD).await;
        }
        let changed = async {
            tokio::select! {
                changed = metrics.changed() => changed,
                changed = view.changed() => changed,
            }
        };
        if matches!(timeout(KEEP_PERIOD, changed).await, Ok(Err(_))) {
            return;
        }
    }
}

/// What this node should change, which is something only if it leads.
fn plan(metrics: &RaftMetrics, view: &View) -> Option<Step> {
    if metrics.current_leader != Some(metrics.id) {
        return None;
    }
    let members = metrics.membership_config.membership();
    if members.get_joint_config().len() > 1 {
        // A leader failed half-way: any change finishes it.
        return members.voter_ids().next().map(|id| Step::AddVoter(NodeId(id)));
    }
    next_step(&view.configuration, &membership(members), &up_to_date(metrics))
}

/// Who has all of the log up to the membership in force, and so was there since.
fn up_to_date(metrics: &RaftMetrics) -> BTreeSet<NodeId> {
    let since = metrics.membership_config.log_id().map(|id| id.index);
    let others = metrics.replication.iter().flatten();
    let others = others.filter(|(_, matched)| matched.map(|id| id.index) >= since).map(|(&id, _)| NodeId(id));
    others.chain([NodeId(metrics.id)]).collect()
}

/// Who takes part, without the two halves of a change under way.
pub(super) fn membership(members: &Members) -> Membership {
    Membership {
        voters: members.voter_ids().map(NodeId).collect(),
        learners: members.learner_ids().map(NodeId).collect(),
    }
}

/// Makes one change.
pub(super) async fn make(
    raft: &openraft::Raft<Types>,
    step: Step,
) -> Result<(), openraft::error::RaftError<u64, openraft::error::ClientWriteError<u64, EmptyNode>>> {
    let change = match step {
        Step::Admit(NodeId(id)) => {
            let command = Command::AdmitNode { node: NodeId(id) };
            return raft.client_write(command).await.map(|_| ());
        }
        Step::AddLearner(NodeId(id)) => ChangeMembers::AddNodes(BTreeMap::from([(id, EmptyNode {})])),
        Step::AddVoter(NodeId(id)) => ChangeMembers::AddVoterIds(BTreeSet::from([id])),
        Step::RemoveVoter(NodeId(id)) => ChangeMembers::RemoveVoters(BTreeSet::from([id])),
        Step::RemoveLearner(NodeId(id)) => ChangeMembers::RemoveNodes(BTreeSet::from([id])),
    };
    // A voter that is no more stays as a learner: it may still have replicas.
    raft.change_membership(change, true).await.map(|_| ())
}
