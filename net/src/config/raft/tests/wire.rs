//! A network in memory. Nodes can be cut off, messages lost and delayed by a seeded choice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::super::id::NodeId;
use super::super::{Answer, CallError, Caller, Raft};

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Raft>,
    /// Pairs, sender first, between which nothing gets through.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Of a thousand messages, how many are lost.
    lost_per_mille: u64,
    delay_ms_max: u64,
    random: u64,
}

/// The network. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Wire(Arc<Mutex<State>>);

/// A node's end of it.
pub(super) struct End {
    wire: Wire,
    from: NodeId,
}

impl Wire {
    pub(super) fn end(&self, from: NodeId) -> Arc<End> {
        Arc::new(End { wire: self.clone(), from })
    }

    pub(super) fn connect(&self, id: NodeId, raft: Raft) {
        self.0.lock().unwrap().nodes.insert(id, raft);
    }

    pub(super) fn disconnect(&self, id: NodeId) {
        self.0.lock().unwrap().nodes.remove(&id);
    }

    /// Nothing gets from one side to the other.
    pub(super) fn part(&self, one: &[NodeId], other: &[NodeId]) {
        let pairs = one.iter().flat_map(|&a| other.iter().flat_map(move |&b| [(a, b), (b, a)]));
        self.0.lock().unwrap().cut.extend(pairs);
    }

    /// Everything gets through again.
    pub(super) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        state.cut.clear();
        state.lost_per_mille = 0;
        state.delay_ms_max = 0;
    }

    pub(super) fn disturb(&self, seed: u64, lost_per_mille: u64, delay_ms_max: u64) {
        let mut state = self.0.lock().unwrap();
        state.random = seed;
        state.lost_per_mille = lost_per_mille;
        state.delay_ms_max = delay_ms_max;
    }

    /// One way: how long it takes, or that it is lost.
    fn pass(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let mut state = self.0.lock().unwrap();
        if state.cut.contains(&(from, to)) {
            return None;
        }
        if state.lost_per_mille == 0 && state.delay_ms_max == 0 {
            return Some(Duration::ZERO);
        }
        let is_lost = state.random(1000) < state.lost_per_mille;
        let delay_ms_max = state.delay_ms_max;
        let delay_ms = state.random(delay_ms_max + 1);
        (!is_lost).then_some(Duration::from_millis(delay_ms))
    }
}

impl State {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }
}

impl End {
    async fn send(&self, to: NodeId, request: Vec<u8>) -> Result<Vec<u8>, CallError> {
        assert!(request.len() <= super::super::MESSAGE_BYTES_MAX, "requests fit into messages");
        let there = self.wire.pass(self.from, to).ok_or(CallError::Lost)?;
        sleep(there).await;
        let peer = self.wire.0.lock().unwrap().nodes.get(&to).cloned().ok_or(CallError::Unreachable)?;
        let answer = peer.handle(self.from, &request).await;
        let back = self.wire.pass(to, self.from).ok_or(CallError::Lost)?;
        sleep(back).await;
        Ok(answer)
    }
}

impl Caller for End {
    fn call(&self, to: NodeId, request: Vec<u8>, deadline: Duration) -> Answer<'_, Result<Vec<u8>, CallError>> {
        Box::pin(async move {
            match timeout(deadline, self.send(to, request)).await {
                Ok(Err(CallError::Lost)) | Err(_) => {
                    // Who waits for something that was lost waits until the deadline; half of it will do here.
                    sleep(deadline / 2).await;
                    Err(CallError::Lost)
                }
                Ok(result) => result,
            }
        })
    }
}
