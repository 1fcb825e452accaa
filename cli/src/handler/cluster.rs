//! The cluster and its nodes.

use std::sync::Arc;
use std::time::Duration;

use siltstone::cluster::{AllExports, Cluster, ClusterError, ClusterEvent, ClusterReport};
use siltstone::control::{Failure, Kind, MoveReplica, NodeAction, Response};
use siltstone::span::Span;

use super::transfer::transfer_failure;
use super::{NodeHandler, describe, failure, name};
use crate::exit::kind_of;
use crate::membership::Membership;

impl NodeHandler {
    /// The cluster that the node is in.
    pub(super) fn cluster(&self) -> Result<Arc<Cluster>, Failure> {
        self.membership()?.cluster().map_err(cluster_failure)
    }

    /// Waits until what the cluster has agreed on is known here, if the node is in one.
    pub(crate) fn know_cluster(&self) -> Result<(), Failure> {
        self.cluster().map_or(Ok(()), |cluster| cluster.catch_up().map_err(cluster_failure))
    }

    fn membership(&self) -> Result<&Membership, Failure> {
        self.serving.as_ref().map(|serving| &*serving.membership).ok_or_else(|| {
            let message = format!(
                "no daemon serves {}, and clusters need a running one: start it with `silt serve`",
                self.dir.path().display()
            );
            Failure::new(Kind::Unavailable, message)
        })
    }

    /// The volumes of the node and of its cluster, as clients open them.
    pub(super) fn exports(&self) -> Result<AllExports, Failure> {
        Ok(AllExports::new(Arc::clone(&self.node), Arc::clone(self.membership()?.slot())))
    }

    pub(super) fn found_cluster(&self, name: Option<&str>, zone: Option<&str>) -> Result<Response, Failure> {
        let (name, zone) = (name.map(str::to_owned), zone.map(str::to_owned));
        let cluster = self.membership()?.found(name, zone, &self.node).map_err(cluster_failure)?;
        Ok(answer(&cluster.report()))
    }

    pub(super) fn cluster_token(&self, validity_s: u64) -> Result<Response, Failure> {
        let validity = Span::from_seconds(validity_s).map_err(|error| Failure::from_chain(Kind::Invalid, &error))?;
        let token = self.cluster()?.token(Duration::from_secs(validity.seconds()));
        Ok(Response::Token { token: token.map_err(cluster_failure)? })
    }

    pub(super) fn set_cluster(&self, catch_up_rate_bytes: Option<u64>) -> Result<Response, Failure> {
        if let Some(rate_bytes) = catch_up_rate_bytes {
            self.cluster()?.set_catch_up_rate(rate_bytes).map_err(cluster_failure)?;
        }
        Ok(Response::Done)
    }

    pub(super) fn rotate_authority(&self, cancel: bool) -> Result<Response, Failure> {
        let cluster = self.cluster()?;
        if cancel { cluster.cancel_rotation() } else { cluster.rotate_authority() }.map_err(cluster_failure)?;
        Ok(answer(&cluster.report()))
    }

    /// What happened: at this node, and at the others if it is in a cluster.
    pub(super) fn events(&self, since_s: Option<u64>) -> Result<Response, Failure> {
        let now_ms = u64::try_from(self.node.store().clock().wall().as_millis()).unwrap_or(u64::MAX);
        let since_ms = since_s.map_or(0, |seconds| now_ms.saturating_sub(seconds.saturating_mul(1000)));
        if self.serving.is_none() {
            let read = self.node.events().read_from(self.dir.path());
            read.map_err(|error| Failure::from_chain(Kind::Io, &error))?;
        }
        let Ok(cluster) = self.cluster() else {
            let events = self.node.events().since(since_ms);
            let events = events.iter().map(|event| describe::cluster::event(event, None)).collect();
            return Ok(Response::Events { events, silent: Vec::new() });
        };
        let (events, silent) = cluster.events(since_ms);
        let described = |told: &ClusterEvent| describe::cluster::event(&told.event, Some(&told.node_name));
        Ok(Response::Events { events: events.iter().map(described).collect(), silent })
    }

    pub(super) fn cluster_status(&self) -> Result<Response, Failure> {
        Ok(answer(&self.cluster()?.report()))
    }

    /// The cluster as the node sees it, if it is in one.
    pub(super) fn cluster_report(&self) -> Option<ClusterReport> {
        self.cluster().ok().map(|cluster| cluster.report())
    }

    pub(super) fn change_node(&self, name: &str, action: NodeAction) -> Result<Response, Failure> {
        let cluster = self.cluster()?;
        match action {
            NodeAction::Drain => cluster.drain(name),
            NodeAction::Resume => cluster.resume(name),
            NodeAction::Remove => cluster.remove_node(name, false),
            NodeAction::RemoveLost => cluster.remove_node(name, true),
            _ => return Err(Failure::new(Kind::Unsupported, "this node is too old to know the action")),
        }
        .map_err(cluster_failure)?;
        Ok(Response::Done)
    }

    pub(super) fn move_replica(&self, wish: &MoveReplica) -> Result<Response, Failure> {
        let moved = self.cluster()?.move_replica(&name(&wish.volume)?, wish.from.as_deref(), &wish.to);
        Ok(describe::cluster::answer(&moved.map_err(cluster_failure)?))
    }
}

fn answer(report: &ClusterReport) -> Response {
    Response::Cluster(Box::new(describe::cluster::cluster(report)))
}

/// A cluster's error as it travels, with what the user can do.
pub(super) fn cluster_failure(error: ClusterError) -> Failure {
    let error = match error {
        ClusterError::Node(error) => return failure(error),
        ClusterError::Transfer(error) => return transfer_failure(error),
        error => error,
    };
    let mut failure = Failure::from_chain(kind_of(error.kind()), &error);
    failure.message.push_str(match error {
        ClusterError::WouldShrink { .. } => " (--allow-shrink permits it)",
        ClusterError::InUse { .. } => ": disconnect or detach its clients first",
        ClusterError::HoldsReplicas(_) => " (--lost removes one that will never come back)",
        _ => "",
    });
    failure
}

#[cfg(test)]
mod tests;
