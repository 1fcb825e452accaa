//! What goes wrong, and how it is put right.

use lsm_store::device::Device;
use lsm_store::device::sim::{Fault, OperationKind, Trigger};
use net::replication::{Event, NodeId, Role};

use super::machine::Death;
use super::network::SERVICE;
use super::world::{MS, SECOND, What, World};

impl World {
    pub(super) fn nemesis(&mut self) {
        if self.is_healed {
            return;
        }
        let slot = self.rng.below(self.machines.len() as u64) as usize;
        let (short, long) = (10 * MS + self.rng.below(SECOND), self.rng.below(8 * SECOND));
        let length = if self.rng.below(2) == 0 { long } else { short };
        let death = if self.rng.below(2) == 0 { Death::Kill } else { Death::PowerCut };
        match self.rng.below(40) {
            0 | 1 => self.die(slot, death),
            2..=6 => self.doom(slot, death),
            7 => (0..self.machines.len()).for_each(|slot| self.die(slot, Death::PowerCut)),
            8 => (0..self.machines.len()).for_each(|slot| self.die(slot, death)),
            9..=11 => self.pause(slot, length),
            12..=15 => self.cut_links(length),
            16 => self.network.cut(slot, SERVICE, self.now + length),
            17 => self.service.down_until = self.now + length,
            18 | 19 => self.machines[slot].slow_until = self.now + length,
            20 | 21 => self.fail_disk(slot),
            22 | 23 => self.fill_disk(slot, length),
            24..=26 => self.network.worsen(&self.rng),
            27 | 28 => self.wipe(slot),
            29 | 30 => self.move_member(),
            31 | 32 => self.hand_over(slot),
            33 => self.report_down(slot),
            34 => self.lose_pins(slot),
            35..=37 => self.rot(slot),
            _ => self.restart_replica(slot),
        }
        let delay = 20 * MS + self.rng.below(1200 * MS);
        self.at(delay, What::Nemesis);
    }

    /// The machine dies in the middle of something.
    fn doom(&mut self, slot: usize, death: Death) {
        if self.processes[slot].is_some() {
            let operations = self.rng.below(60);
            self.note(slot, "doomed");
            self.machines[slot].doom(death, operations);
        }
    }

    fn pause(&mut self, slot: usize, length: u64) {
        self.note(slot, "pause");
        self.machines[slot].paused_until = self.now + length;
    }

    /// Cuts links between two groups of nodes, both ways or one way.
    fn cut_links(&mut self, length: u64) {
        let (side, one_way) = (self.rng.next_u64(), self.rng.below(3) == 0);
        self.note(side as usize & 31, if one_way { "cut one way" } else { "cut" });
        let until = self.now + length;
        let is_left = |slot: usize| side >> slot & 1 == 0;
        for from in 0..self.machines.len() {
            for to in 0..self.machines.len() {
                let crosses = if one_way { is_left(from) && !is_left(to) } else { is_left(from) != is_left(to) };
                if crosses {
                    self.network.cut(from, to, until);
                }
            }
            if is_left(from) && side >> 63 == 0 {
                self.network.cut(from, SERVICE, until);
            }
        }
    }

    /// The disk fails something, once.
    fn fail_disk(&mut self, slot: usize) {
        let below = if self.rng.below(2) == 0 { "replica-" } else { "" };
        let (kind, fault) = match self.rng.below(4) {
            0 => (OperationKind::Sync, Fault::DropDirty),
            1 => (OperationKind::Write, Fault::Io),
            2 => (OperationKind::SyncDirectory, Fault::Io),
            _ => (OperationKind::Sync, Fault::Io),
        };
        self.note(slot, "a disk fails");
        let after = self.rng.below(8);
        self.machines[slot].disk.inject(Trigger::on(kind).under(below).after(after), fault);
    }

    fn fill_disk(&mut self, slot: usize, length: u64) {
        let machine = &mut self.machines[slot];
        let Ok(space) = machine.disk.space() else { return };
        let used = space.total_bytes - space.available_bytes;
        machine.disk.set_capacity(Some(used + self.rng.below(1 << 20)));
        machine.full_until = self.now + length;
        self.note(slot, "a disk is full");
        self.at(length, What::MakeRoom { slot });
    }

    pub(super) fn make_room(&mut self, slot: usize) {
        if self.machines[slot].full_until <= self.now {
            self.machines[slot].disk.set_capacity(None);
        }
    }

    /// A wanted node is a sound member of the newest configuration.
    fn is_sound(&self, id: NodeId) -> bool {
        let epoch = self.service.now().epoch;
        let replica = self.slot_of(id).and_then(|slot| self.replica(slot));
        replica.and_then(|replica| replica.role()).is_some_and(|(role, configuration)| {
            role != Role::Outside && configuration.is_some_and(|it| it.epoch == epoch)
        })
    }

    /// A volume can stand the loss of what a node has: the others are there and sure of what they have.
    fn can_lose(&self, slot: usize) -> bool {
        let (configuration, id) = (self.service.now(), self.machines[slot].id);
        let others = configuration.others(id).filter(|other| self.is_sound(*other)).count();
        let was_wiped = configuration.members.iter().any(|member| self.slot_of(member.node).is_none());
        others + 1 >= configuration.members.len() && others >= 2 && !was_wiped && configuration.contains(id)
    }

    /// A node loses its disk.
    fn wipe(&mut self, slot: usize) {
        if !self.can_lose(slot) || self.processes[slot].is_none() {
            return;
        }
        self.die(slot, Death::Kill);
        self.note(slot, "wipe");
        let (id, fresh) = (self.machines[slot].id, NodeId(self.next_id));
        self.next_id += 1;
        self.machines[slot].replace(fresh, &self.clock, &self.rng);
        self.placement.iter_mut().filter(|it| **it == id).for_each(|it| *it = fresh);
        self.tell_placement();
    }

    /// A bit of a log turns at rest.
    fn rot(&mut self, slot: usize) {
        if !self.can_lose(slot) {
            return;
        }
        let disk = &self.machines[slot].disk;
        let logs: Vec<String> = disk.paths().into_iter().filter(|path| path.starts_with("replica-")).collect();
        if logs.is_empty() {
            return;
        }
        let path = &logs[self.rng.below(logs.len() as u64) as usize];
        let (offset, bit) = (self.rng.below(12 << 10), self.rng.below(8) as u8);
        if disk.flip_bit(path, offset, bit).is_ok() {
            self.note(slot, "rot");
            self.die(slot, Death::Kill);
        }
    }

    /// Another node shall have one of the copies.
    fn move_member(&mut self) {
        let spare = self.machines.iter().map(|machine| machine.id).find(|id| !self.placement.contains(id));
        if let Some(spare) = spare {
            let goes = self.rng.below(self.placement.len() as u64) as usize;
            self.note(goes, "move");
            self.placement[goes] = spare;
            self.tell_placement();
        }
    }

    fn tell_placement(&mut self) {
        for slot in 0..self.machines.len() {
            let (delay, event) = (self.rng.below(50 * MS), Event::Placement(Vec::new()));
            self.on(slot, delay, What::Tell(event));
        }
    }

    fn hand_over(&mut self, slot: usize) {
        let (to, primary) = (self.machines[slot].id, self.service.now().primary);
        if let Some(primary) = self.slot_of(primary) {
            self.note(slot, "hand over");
            self.tell(primary, Event::HandOver { request: None, to });
        }
    }

    fn report_down(&mut self, slot: usize) {
        let id = self.machines[slot].id;
        (0..self.machines.len()).filter(|other| *other != slot).for_each(|other| self.tell(other, Event::PeerDown(id)));
    }

    fn lose_pins(&mut self, slot: usize) {
        let pinned: Vec<NodeId> = self.processes[slot]
            .as_ref()
            .map(|process| process.transfers.pins.keys().copied().collect())
            .unwrap_or_default();
        for node in pinned {
            self.unpin(slot, node);
            self.tell(slot, Event::PinLost(node));
        }
    }

    /// The replica's log seems to fail: the replica alone is started again.
    fn restart_replica(&mut self, slot: usize) {
        self.note(slot, "a replica fails");
        self.tell(slot, Event::JournalFailed);
    }

    /// Everything works from now on.
    pub(super) fn heal(&mut self) {
        self.note(0, "heal");
        self.is_healed = true;
        self.network = Default::default();
        self.service.down_until = 0;
        for slot in 0..self.machines.len() {
            let machine = &mut self.machines[slot];
            (machine.slow_until, machine.full_until) = (0, 0);
            machine.paused_until = machine.paused_until.min(self.now);
            machine.disk.set_capacity(None);
            if !machine.is_doomed() {
                machine.disk.clear_faults();
            }
        }
        self.tell_placement();
        self.at(500 * MS, What::Check);
    }
}
