//! Is all well again, and are all replicas alike?

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blockdev::catalog::Catalog;
use blockdev::replica::LocalReplica;
use blockdev::root::{PLAIN_DOMAIN, RootBuilder};
use lsm_store::store::Volume;
use net::replication::{NodeId, Role};

use super::client::Wish;
use super::content::{self, Change};
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

/// How the run ends, once everything works again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// It is not healed, or not all is well yet.
    NotYet,
    /// All is well, and clients go on until then, and until so much was answered.
    Served { until: u64, answers: u64 },
    /// Clients have stopped, but for one that makes a last snapshot.
    Snapshot { number: u64 },
    /// And flushes it.
    Flush { number: u64 },
}

impl World {
    /// Clients begin nothing new.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.ending, Ending::Snapshot { .. } | Ending::Flush { .. })
    }

    /// All is well: every wanted node is a sound member, and one of them serves.
    fn is_well(&self) -> bool {
        let now = self.service.now();
        let is_sound = |id: &NodeId| {
            let replica = self.slot_of(*id).and_then(|slot| self.replica(slot));
            let is_so = |replica: &LocalReplica| {
                replica.role().is_some_and(|(role, configuration)| {
                    role != Role::Outside && configuration.is_some_and(|it| it.epoch == now.epoch)
                })
            };
            replica.is_some_and(|replica| is_so(&replica))
        };
        let serves = self.slot_of(now.primary).and_then(|slot| self.replica(slot)).is_some_and(|it| it.serves());
        serves
            && now.members.len() == self.placement.len()
            && self.placement.iter().all(|id| now.contains(*id) && is_sound(id))
    }

    pub(super) fn check_health(&mut self) -> Result<(), Violation> {
        let is_idle = self.clients.iter().all(|client| client.call.is_none());
        let answers = self.order.ordered + self.order.reads;
        match self.ending {
            Ending::NotYet if self.is_well() => {
                self.note(0, "all is well");
                self.ending = Ending::Served { until: self.now + SECOND, answers: answers + 20 };
            }
            Ending::Served { until, answers: least } if self.now >= until && answers >= least => {
                let number = self.number(Change::Snapshot);
                self.ending = Ending::Snapshot { number };
            }
            Ending::Snapshot { number } if is_idle => {
                if self.order.state(self.order.end()).is_some_and(|state| state.snapshots.contains_key(&number)) {
                    self.ending = Ending::Flush { number };
                    self.wish(0, Wish::Flush);
                } else {
                    self.retry_snapshot();
                }
            }
            Ending::Flush { number } if is_idle && self.is_well() => {
                if self.is_quiet() {
                    self.is_done = true;
                    return self.check_alike(number);
                }
                // As a reader does that meets a barrier.
                self.wish(0, Wish::Flush);
            }
            _ => {}
        }
        self.at(250 * MS, What::Check);
        Ok(())
    }

    /// A record whose outcome is not known may be ordered still: another one is asked for.
    fn retry_snapshot(&mut self) {
        let number = self.number(Change::Snapshot);
        self.ending = Ending::Snapshot { number };
        self.wish(0, Wish::Order(vec![number]));
    }

    fn placed(&self) -> impl Iterator<Item = (usize, std::sync::Arc<LocalReplica>)> {
        self.placement.iter().filter_map(|id| self.slot_of(*id)).filter_map(|slot| Some((slot, self.replica(slot)?)))
    }

    /// Every store has all there is, and nothing is on its way.
    fn is_quiet(&self) -> bool {
        let is_settled = |replica: &LocalReplica| {
            let pending = &replica.shared().pending;
            pending.applied() == self.order.end() && pending.visible() == self.order.end()
        };
        let is_free = |slot: usize| {
            self.processes[slot]
                .as_ref()
                .is_some_and(|process| process.transfers.pins.is_empty() && process.transfers.errands.is_empty())
        };
        self.placed().count() == self.placement.len()
            && self.placed().all(|(slot, replica)| is_settled(&replica) && is_free(slot))
    }

    /// All replicas hold the same, which is what the order says.
    fn check_alike(&mut self, last: u64) -> Result<(), Violation> {
        self.order.check()?;
        let state = self.order.applied(self.order.end())?.clone();
        let mut roots = BTreeMap::new();
        for (slot, _) in self.placed().collect::<Vec<_>>() {
            self.check_store(slot)?;
            let snapshots = self.snapshots(slot)?;
            let names: Vec<_> = snapshots.keys().collect();
            if !names.iter().copied().eq(state.snapshots.keys()) {
                let wanted: Vec<_> = state.snapshots.keys().collect();
                return Err(Violation(format!("#{slot} has snapshots {names:?} and should have {wanted:?}")));
            }
            for (number, volume) in &snapshots {
                let values =
                    read_all(volume).map_err(|why| Violation(format!("snapshot {number} of #{slot}: {why}")))?;
                if Some(&values) != state.snapshots.get(number).map(|cells| &**cells) {
                    let wanted = state.snapshots.get(number);
                    return Err(Violation(format!("snapshot {number} of #{slot}: {values:?}, should be {wanted:?}")));
                }
            }
            let volume = snapshots.get(&last).ok_or_else(|| Violation(format!("#{slot} lacks snapshot {last}")))?;
            roots.insert(slot, root(volume).map_err(|error| Violation(error.to_string()))?);
        }
        let mut distinct: Vec<_> = roots.values().collect();
        distinct.dedup();
        if distinct.len() == 1 {
            Ok(())
        } else {
            Err(Violation(format!("the roots of snapshot {last} differ: {roots:?}")))
        }
    }

    /// The snapshots with names that a node's replica has, by their numbers.
    fn snapshots(&self, slot: usize) -> Result<BTreeMap<u64, Volume>, Violation> {
        let Some((process, running)) = self.running(slot) else { return Ok(BTreeMap::new()) };
        let store = process.node.store();
        let failed = |why: String| Violation(format!("#{slot}: {why}"));
        let catalog = Catalog::decode(&store.records()).map_err(|error| failed(error.to_string()))?;
        let mut found = BTreeMap::new();
        for (name, id) in catalog.snapshots(running.replica.shared().volume.id()) {
            let number = content::number_of(name).ok_or_else(|| failed(format!("a snapshot called {name}")))?;
            found.insert(number, store.volume(id).map_err(|error| failed(error.to_string()))?);
        }
        Ok(found)
    }

    pub(super) fn describe(&self) -> String {
        let now = self.service.now();
        let mut text = format!("{now:?} placement {:?} order {:?} {:?}", self.placement, self.order.end(), self.ending);
        for (slot, machine) in self.machines.iter().enumerate() {
            let _ = write!(text, "\n  #{slot} {:?}:", machine.id);
            let Some((process, running)) = self.running(slot) else {
                let _ = write!(text, " process {} no replica", self.processes[slot].is_some());
                continue;
            };
            let pending = &running.replica.shared().pending;
            let _ = write!(
                text,
                " applied {:?} visible {:?} failed {} pins {:?} errands {}",
                pending.applied(),
                pending.visible(),
                running.replica.has_failed(),
                process.transfers.pins.keys(),
                process.transfers.errands.len()
            );
            if let Some(hands) = running.replica.hands() {
                let it = hands.protocol();
                let _ = write!(
                    text,
                    " {:?} {:?} end {:?} committed {:?} flushable {:?} log from {:?}",
                    it.role(),
                    it.configuration().map(|it| it.epoch),
                    it.end(),
                    it.committed(),
                    it.flushable(),
                    hands.log().start()
                );
            }
        }
        for (client, it) in self.clients.iter().enumerate() {
            let _ = write!(text, "\n  client {client}: {:?}", it.call);
        }
        text
    }
}

fn read_all(volume: &Volume) -> Result<Vec<u64>, String> {
    let data = volume.read(0, volume.size_bytes() as usize).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; data.len()];
    data.copy_to(&mut bytes);
    content::values_of(0, &bytes)
}

fn root(volume: &Volume) -> Result<[u8; 32], lsm_store::Error> {
    let mut root = RootBuilder::new(PLAIN_DOMAIN, volume.size_bytes());
    while !root.is_complete() {
        root.push_next_of(volume)?;
    }
    Ok(root.finish().digest)
}
