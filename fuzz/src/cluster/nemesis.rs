//! What goes wrong, and how it is put right.

use net::replication::{Event, NodeId, Role, Standing};

use super::disk::Disk;
use super::world::{MS, SECOND, What, World};
use crate::model::Violation;

impl World {
    pub(super) fn nemesis(&mut self) -> Result<(), Violation> {
        if self.is_healed {
            return Ok(());
        }
        let slot = self.rng.below(self.nodes.len() as u64) as usize;
        let (short, long) = (10 * MS + self.rng.below(SECOND), self.rng.below(8 * SECOND));
        let length = if self.rng.below(2) == 0 { long } else { short };
        match self.rng.below(30) {
            0..=2 => self.stop_for(slot, false, short),
            3..=5 => self.stop_for(slot, true, length),
            6 => self.stop_all(true),
            7 => self.stop_all(false),
            8..=10 => self.pause(slot, length),
            11..=14 => self.cut_links(length),
            15 => self.cut.insert((slot, usize::MAX), self.now + length).map_or((), |_| ()),
            16 => self.service.down_until = self.now + length,
            17 | 18 => self.nodes[slot].slow_until = self.now + length,
            19 => self.nodes[slot].fails_sync = true,
            20..=22 => self.worsen_network(),
            23 | 24 => self.wipe(slot),
            25 => self.move_member()?,
            26 | 27 => self.hand_over(slot)?,
            28 => self.report_down(slot)?,
            _ => self.lose_pins(slot)?,
        }
        let delay = 20 * MS + self.rng.below(1500 * MS);
        self.at(delay, What::Nemesis);
        Ok(())
    }

    fn stop_for(&mut self, slot: usize, cuts_power: bool, length: u64) {
        self.stop(slot, cuts_power);
        self.at(length, What::Start { slot });
    }

    fn stop_all(&mut self, cuts_power: bool) {
        for slot in 0..self.nodes.len() {
            let length = 10 * MS + self.rng.below(3 * SECOND);
            self.stop_for(slot, cuts_power, length);
        }
    }

    fn pause(&mut self, slot: usize, length: u64) {
        self.note(slot, "pause");
        self.nodes[slot].paused_until = self.now + length;
    }

    /// Cuts links between two groups of nodes, both ways or one way.
    fn cut_links(&mut self, length: u64) {
        let (side, one_way) = (self.rng.next_u64(), self.rng.below(3) == 0);
        self.note(side as usize & 31, if one_way { "cut one way" } else { "cut" });
        let is_left = |slot: usize| side >> slot & 1 == 0;
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let crosses = if one_way { is_left(from) && !is_left(to) } else { is_left(from) != is_left(to) };
                if crosses {
                    self.cut.insert((from, to), self.now + length);
                }
            }
            if is_left(from) && side >> 63 == 0 {
                self.cut.insert((from, usize::MAX), self.now + length);
            }
        }
    }

    fn worsen_network(&mut self) {
        let good = self.rng.below(2) == 0;
        let percent = |most| if good { 0 } else { self.rng.below(most) };
        let (loss, repeat, late) = (percent(30), percent(20), percent(5));
        (self.loss_percent, self.repeat_percent, self.late_percent) = (loss, repeat, late);
    }

    /// A node loses its disk, if the volume can stand it: the others are there and sure of what they have.
    fn wipe(&mut self, slot: usize) {
        let configuration = self.service.now().clone();
        let is_well = |id: NodeId| {
            let replica = self.slot_of(id).and_then(|slot| self.nodes[slot].replica.as_ref());
            replica.is_some_and(|replica| {
                replica.role() != Role::Outside && replica.configuration() == Some(&configuration)
            })
        };
        let id = self.nodes[slot].id;
        let others = configuration.others(id).filter(|other| is_well(*other)).count();
        let is_safe = others + 1 >= configuration.members.len() && others >= 2;
        let was_wiped = configuration.members.iter().any(|member| self.slot_of(member.node).is_none());
        if !is_safe || was_wiped || !self.service.is_member(id) {
            return;
        }
        self.stop(slot, false);
        self.note(slot, "wipe");
        let node = &mut self.nodes[slot];
        node.disk = Disk::new(Standing::Outside);
        node.was_wiped = true;
        if self.bug != Some(super::Bug::NodeIdReused) {
            let fresh = NodeId(self.next_id);
            self.next_id += 1;
            node.id = fresh;
            self.placement.iter_mut().filter(|it| **it == id).for_each(|it| *it = fresh);
        }
        self.at(100 * MS, What::Start { slot });
        self.tell_placement();
    }

    /// Another node shall have one of the copies.
    fn move_member(&mut self) -> Result<(), Violation> {
        let spare = self.nodes.iter().map(|node| node.id).find(|id| !self.placement.contains(id));
        if let Some(spare) = spare {
            let goes = self.rng.below(self.placement.len() as u64) as usize;
            self.note(goes, "move");
            self.placement[goes] = spare;
            self.tell_placement();
        }
        Ok(())
    }

    fn tell_placement(&mut self) {
        for slot in 0..self.nodes.len() {
            let (generation, event) = (self.nodes[slot].generation, Event::Placement(self.placement.clone()));
            let delay = self.rng.below(50 * MS);
            self.at(delay, What::Tell { slot, generation, event });
        }
    }

    fn tell(&mut self, slot: usize, event: Event) {
        let generation = self.nodes[slot].generation;
        self.at(0, What::Tell { slot, generation, event });
    }

    fn hand_over(&mut self, slot: usize) -> Result<(), Violation> {
        let (to, primary) = (self.nodes[slot].id, self.service.now().primary);
        if let Some(primary) = self.slot_of(primary) {
            self.note(slot, "hand over");
            self.tell(primary, Event::HandOver { request: None, to });
        }
        Ok(())
    }

    fn report_down(&mut self, slot: usize) -> Result<(), Violation> {
        let id = self.nodes[slot].id;
        (0..self.nodes.len()).filter(|other| *other != slot).for_each(|other| self.tell(other, Event::PeerDown(id)));
        Ok(())
    }

    fn lose_pins(&mut self, slot: usize) -> Result<(), Violation> {
        let pinned: Vec<NodeId> = std::mem::take(&mut self.nodes[slot].pins).into_keys().collect();
        pinned.into_iter().for_each(|node| self.tell(slot, Event::PinLost(node)));
        Ok(())
    }

    /// Everything works from now on.
    pub(super) fn heal(&mut self) {
        self.note(0, "heal");
        self.is_healed = true;
        self.cut.clear();
        self.service.down_until = 0;
        (self.loss_percent, self.repeat_percent, self.late_percent) = (0, 0, 0);
        for slot in 0..self.nodes.len() {
            let node = &mut self.nodes[slot];
            (node.slow_until, node.fails_sync) = (0, false);
            node.paused_until = node.paused_until.min(self.now);
            self.at(0, What::Start { slot });
        }
        self.tell_placement();
        self.at(500 * MS, What::Check);
    }
}
