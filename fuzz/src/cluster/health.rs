//! Is all well again?

use std::fmt::Write as _;

use net::replication::{NodeId, Replica, Role};

use super::disk::Image;
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

impl World {
    /// All is well: every wanted node is a sound member, and one of them serves.
    pub(super) fn is_well(&self) -> bool {
        let now = self.service.now();
        let is_sound = |id: &NodeId| {
            let replica = self.slot_of(*id).and_then(|slot| self.nodes[slot].replica.as_ref());
            replica.is_some_and(|replica| {
                replica.role() != Role::Outside && replica.configuration().is_some_and(|it| it.epoch == now.epoch)
            })
        };
        let serves = self.slot_of(now.primary).is_some_and(|slot| self.nodes[slot].opened.is_some());
        serves
            && now.members.len() == self.placement.len()
            && self.placement.iter().all(|id| now.contains(*id) && is_sound(id))
    }

    pub(super) fn check_health(&mut self) {
        if self.is_served_since.is_none() && self.is_well() {
            // Clients go on for a while, and then everything settles.
            self.note(0, "all is well");
            self.is_served_since = Some((self.oracle.writes + self.oracle.flushes, self.now + SECOND));
        }
        if self.is_served_since.is_some() {
            let is_idle = self.clients.iter().all(|client| client.call.is_none());
            self.is_done = self.has_served_enough() && is_idle && self.is_well() && self.is_quiet();
        }
        self.at(250 * MS, What::Check);
    }

    /// Clients have been served since all was well.
    pub(super) fn has_served_enough(&self) -> bool {
        self.is_served_since
            .is_some_and(|(before, end)| self.now >= end && self.oracle.writes + self.oracle.flushes > before + 10)
    }

    /// Nothing is on the way between the replicas.
    pub(super) fn is_quiet(&self) -> bool {
        let ends =
            self.placement.iter().filter_map(|id| self.slot_of(*id)).filter_map(|slot| {
                self.nodes[slot].replica.as_ref().map(|replica| (replica.end(), replica.committed()))
            });
        let ends: Vec<_> = ends.collect();
        let pins =
            self.placement.iter().filter_map(|id| self.slot_of(*id)).any(|slot| !self.nodes[slot].pins.is_empty());
        !pins
            && ends.windows(2).all(|pair| pair[0] == pair[1])
            && ends.iter().all(|(end, committed)| end.lsn == *committed)
    }

    pub(super) fn final_check(&self) -> Result<(), Violation> {
        self.oracle.check()?;
        let slots: Vec<usize> = self.placement.iter().filter_map(|id| self.slot_of(*id)).collect();
        let images: Vec<Image> =
            slots.iter().map(|slot| &self.nodes[*slot].disk.live).map(|log| log.image_at(log.end())).collect();
        if images.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(Violation(format!("replicas differ: {images:?}")));
        }
        if let Some(slot) = slots.iter().find(|slot| !self.nodes[**slot].pins.is_empty()) {
            return Err(Violation(format!("#{slot} still has snapshots pinned: {:?}", self.nodes[*slot].pins.keys())));
        }
        Ok(())
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?} placement {:?}", self.service.now(), self.placement);
        for (slot, node) in self.nodes.iter().enumerate() {
            let replica = node.replica.as_ref();
            let _ = write!(
                text,
                "\n  #{slot} {:?}: {:?} {:?} end {:?} committed {:?} flushable {:?} floor {:?} start {:?} standing {:?} epoch {:?}",
                node.id,
                replica.map(Replica::role),
                replica.and_then(Replica::configuration).map(|it| it.epoch),
                node.disk.live.history.end(),
                replica.map(Replica::committed),
                replica.map(Replica::flushable),
                node.disk.live.floor,
                node.disk.live.journal_start(),
                node.disk.live.standing,
                node.disk.epoch(),
            );
        }
        text
    }
}
