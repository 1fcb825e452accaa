//! What a node of a cluster does by itself as time passes, beside keeping its replicas. It may have to ask other nodes, and so has
//! a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use net::config::raft::Consensus;
use net::config::state::{Command, Volume, VolumeState};
use net::id::VolumeId;

use super::Result;
use super::asking::Session;
use super::clones::seed_bytes;
use super::core::Core;
use super::trash::expired;
use super::volumes::order;
use crate::jumps::Jumps;
use crate::node::seed_name;
use crate::replica::operation::Operation;
use crate::schedule::{Thinning, Turns};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long a clone may be without a seed until it is given up: longer than whoever makes it waits.
const SEED_WAIT: Duration = Duration::from_secs(60);

/// How long a seed stays once its clone is complete, for those of its nodes that are a little behind.
const SEED_STAY: Duration = Duration::from_secs(10);

/// When something was first seen, by volume.
#[derive(Default)]
struct Seen(HashMap<VolumeId, Duration>);

impl Seen {
    /// How long ago it was; now is the first time if it was not.
    fn since(&mut self, volume: VolumeId, now: Duration) -> Duration {
        now.saturating_sub(*self.0.entry(volume).or_insert(now))
    }

    fn keep(&mut self, is_there: impl Fn(VolumeId) -> bool) {
        self.0.retain(|volume, _| is_there(*volume));
    }
}

/// What was seen at earlier looks.
#[derive(Default)]
struct Memory {
    incomplete: Seen,
    used_seeds: Seen,
    turns: Turns<VolumeId>,
    jumps: Jumps,
}

impl Core {
    /// Works until the node stops.
    pub(super) fn tend(self: &Arc<Self>) {
        let (clock, mut memory) = (Arc::clone(self.node.store().clock()), Memory::default());
        while !self.is_stopping() {
            let begun = clock.monotonic();
            self.settle_clones(&mut memory.incomplete);
            self.settle_imports();
            self.settle_intakes();
            self.remove_seeds(&mut memory.used_seeds);
            // The duties of the node, which see the same clock, tell of it.
            let mut is_held = || {
                memory.jumps.look(clock.wall(), clock.monotonic());
                memory.jumps.is_held()
            };
            if !is_held() {
                self.purge_expired();
            }
            let thinning = if is_held() { Thinning::Held } else { Thinning::Due };
            self.follow_schedules(&mut memory.turns, thinning);
            while !self.is_stopping() && clock.monotonic() - begun < LOOK {
                self.wait_change(LOOK);
            }
        }
    }

    /// Completes clones that whoever made them has left, or gives them up, if this node leads.
    fn settle_clones(self: &Arc<Self>, seen: &mut Seen) {
        let configuration = self.configuration();
        let is_incomplete = |volume: &Volume| volume.state == VolumeState::Importing && volume.origin.is_some();
        seen.keep(|id| configuration.volume(id).is_some_and(is_incomplete));
        if self.consensus().metrics().leader != Some(self.me) {
            return;
        }
        for clone in configuration.volumes().filter(|volume| is_incomplete(volume)) {
            let age = seen.since(clone.id, self.node.store().clock().monotonic());
            if let Err(error) = self.settle_clone(clone, age) {
                tracing::warn!(volume = %clone.name, error = &error as &dyn std::error::Error, "a clone is not complete yet");
            }
        }
    }

    pub(super) fn settle_clone(self: &Arc<Self>, clone: &Volume, age: Duration) -> Result<()> {
        let source = clone.origin.map(|origin| origin.volume).filter(|source| self.volume(*source).is_some());
        // Of a source that nobody serves nothing can be said now.
        let is_served = |volume| Session::of_duty(Arc::clone(self), volume).is_served();
        if source.map_or(Ok(false), |source| is_served(source).map(|served| !served))? {
            return Ok(());
        }
        let seed_bytes =
            source.map_or(Ok(None), |source| seed_bytes(&Session::of_duty(Arc::clone(self), source), clone.id))?;
        if is_served(clone.id)? {
            return self.complete_clone(clone.id, seed_bytes);
        }
        if seed_bytes.is_none() && age >= SEED_WAIT {
            tracing::warn!(volume = %clone.name, "a clone that has nothing to start with is given up");
            self.propose(Command::DeleteVolume { volume: clone.id, with_snapshots: true })?;
        }
        Ok(())
    }

    /// Removes for good what has been in the trash for its time, if this node leads.
    fn purge_expired(&self) {
        if self.consensus().metrics().leader != Some(self.me) {
            return;
        }
        let configuration = self.configuration();
        for volume in expired(&configuration, self.wall_ms()).iter().filter_map(|id| configuration.volume(*id)) {
            match self.purge(volume) {
                Ok(true) => tracing::info!(volume = %volume.name, "removed a volume from the trash"),
                Ok(false) => {}
                Err(error) => tracing::warn!(volume = %volume.name, %error, "a volume stays in the trash for now"),
            }
        }
    }

    /// Has seeds removed whose clones do not need them any more, of volumes that this node serves.
    fn remove_seeds(self: &Arc<Self>, seen: &mut Seen) {
        let served = self.served();
        let seeds: Vec<_> = served
            .into_iter()
            .flat_map(|source| self.node.seeds(source).into_iter().map(move |it| (source, it)))
            .collect();
        seen.keep(|id| seeds.iter().any(|(_, clone)| *clone == id));
        if seeds.is_empty() {
            return;
        }
        // A clone that this node has not heard of yet is none that is gone.
        let Ok(configuration) = self.fresh_configuration() else { return };
        let now = self.node.store().clock().monotonic();
        for (source, clone) in seeds {
            let is_due = match configuration.volume(clone).map(|clone| clone.state) {
                None => true,
                Some(VolumeState::Importing) => false,
                Some(VolumeState::Ready) => seen.since(clone, now) >= SEED_STAY,
            };
            if !is_due {
                continue;
            }
            let session = Session::of_duty(Arc::clone(self), source);
            if let Err(error) = order(&session, Operation::RemoveSnapshot { name: seed_name(clone) }) {
                tracing::warn!(volume = %source, %error, "the seed of a clone stays for now");
            }
        }
    }

    /// The volumes that this node serves now.
    pub(super) fn served(&self) -> Vec<VolumeId> {
        let replicas = self.replicas.read();
        replicas.iter().filter(|(_, replica)| replica.serves()).map(|(id, _)| *id).collect()
    }
}
