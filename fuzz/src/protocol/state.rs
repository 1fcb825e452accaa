//! The whole system at one moment, and the steps that are not messages, proposals or the primary's.

use super::flaw::Flaw;
use super::journal::{Journal, Log, Record, Standing, Writes};
use super::message::Message;
use super::node::{Follower, NODES_MAX, Node, Peer, Primary, Role};
use super::scope::Scope;

/// What does not change while the model is explored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) scope: Scope,
    pub(super) flaw: Option<Flaw>,
}

impl Rules {
    /// The rule holds.
    pub(super) fn keep(&self, flaw: Flaw) -> bool {
        self.flaw != Some(flaw)
    }

    /// From this age on a grant is of no use.
    pub(super) fn oldest_grant(&self) -> u8 {
        self.scope.clocks.lease + u8::from(!self.keep(Flaw::LeaseFromArrival))
    }

    pub(super) fn nodes(&self) -> std::ops::Range<u8> {
        0..self.scope.nodes
    }
}

/// Who replicates the volume in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Configuration {
    pub(super) primary: u8,
    /// Since which epoch each node has been a member, 0 if it is none.
    pub(super) since: [u8; NODES_MAX],
    /// The last epoch that began with the tails of all lost.
    pub(super) loss: u8,
}

impl Configuration {
    pub(super) fn has(&self, node: u8) -> bool {
        self.since[usize::from(node)] > 0
    }

    pub(super) fn members(&self) -> impl Iterator<Item = u8> + '_ {
        (0..NODES_MAX as u8).filter(|node| self.has(*node))
    }

    pub(super) fn others(&self, node: u8) -> impl Iterator<Item = u8> + '_ {
        self.members().filter(move |other| *other != node)
    }

    /// What a standing is worth as a member.
    pub(super) fn worth(&self, rules: &Rules, node: u8, standing: Standing) -> Standing {
        let since = self.since[usize::from(node)];
        match standing {
            Standing::Sound(epoch) | Standing::Doubtful(epoch)
                if since > 0 && (epoch >= since || !rules.keep(Flaw::SinceIgnored)) =>
            {
                standing
            }
            _ => Standing::Outside,
        }
    }
}

/// A change on its way to the service, made from configuration `base`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Proposal {
    pub(super) by: u8,
    pub(super) base: u8,
    pub(super) next: Configuration,
}

/// The system.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) nodes: Vec<Node>,
    /// All configurations there were; the first is that of epoch 1.
    pub(super) configurations: Vec<Configuration>,
    pub(super) proposals: Vec<Proposal>,
    /// On the way, in order, none twice.
    pub(super) messages: Vec<Message>,
    pub(super) writes: u8,
    pub(super) kills: u8,
    pub(super) cuts: u8,
    /// The nodes that ever lost their power, as a set.
    pub(super) cut_nodes: u8,
    /// Writes that a client was told of: by an answer, or by a read.
    pub(super) told: Writes,
    /// Writes that an answered flush covers.
    pub(super) flushed: Writes,
    /// What went wrong that is seen only as it happens.
    pub(super) wrong: Option<Wrong>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Wrong {
    /// A primary's log contradicts what a backup must keep.
    Diverged,
    /// A loss was decreed, and a member had never lost its power.
    FalseLoss,
}

impl State {
    /// A volume that has been made: the members have its opening.
    pub(super) fn first(rules: &Rules) -> Self {
        let (scope, opening) = (&rules.scope, Record { epoch: 1, write: 0 });
        let node = |id| {
            let (mut log, is_member) = (Log::default(), id < scope.members);
            if is_member {
                log.push(opening);
            }
            let held = log.len();
            let standing = if is_member { Standing::Sound(1) } else { Standing::Outside };
            Node {
                journal: Journal::new(log, standing),
                floor: held,
                start: 1,
                epoch: 1,
                fresh_from: 1,
                committed: held,
                flushable: held,
                granted_ago: scope.clocks.grace,
                granted_to: None,
                stepped_down: 0,
                decreed: 0,
                role: Role::Follower(Follower { matched: held, as_member: is_member, ..Follower::default() }),
            }
        };
        let mut since = [0; NODES_MAX];
        since[..usize::from(scope.members)].fill(1);
        let mut state = Self {
            nodes: rules.nodes().map(node).collect(),
            configurations: vec![Configuration { primary: 0, since, loss: 0 }],
            proposals: Vec::new(),
            messages: Vec::new(),
            writes: 0,
            kills: 0,
            cuts: 0,
            cut_nodes: 0,
            told: 0,
            flushed: 0,
            wrong: None,
        };
        let peer = |node: u8| {
            let held = state.nodes.get(usize::from(node)).map_or(0, |node| node.journal.log().len());
            Peer { start: 1, as_member: held > 0, is_lost: false, held, synced: held, lease_age: scope.clocks.lease }
        };
        let peers = std::array::from_fn(|node| peer(node as u8));
        state.nodes[0].role = Role::Primary(Primary { waits: false, is_open: true, is_leaving: false, peers });
        state
    }

    /// The newest epoch.
    pub(super) fn newest(&self) -> u8 {
        self.configurations.len() as u8
    }

    /// A node.
    pub(super) fn node(&self, id: u8) -> &Node {
        &self.nodes[usize::from(id)]
    }

    pub(super) fn node_mut(&mut self, id: u8) -> &mut Node {
        &mut self.nodes[usize::from(id)]
    }

    /// The configuration that a node knows.
    pub(super) fn configuration_of(&self, id: u8) -> Option<&Configuration> {
        self.node(id).epoch.checked_sub(1).map(|index| &self.configurations[usize::from(index)])
    }

    /// What a node's own standing is worth in the configuration it knows.
    pub(super) fn standing_of(&self, rules: &Rules, id: u8) -> Standing {
        let standing = self.node(id).journal.standing();
        self.configuration_of(id).map_or(Standing::Outside, |it| it.worth(rules, id, standing))
    }

    pub(super) fn is_sound(&self, rules: &Rules, id: u8) -> bool {
        matches!(self.standing_of(rules, id), Standing::Sound(_))
    }

    /// Some configuration from its own on was the newest since it started.
    pub(super) fn is_current(&self, id: u8) -> bool {
        self.node(id).epoch >= self.node(id).fresh_from
    }

    /// True if a node answers what clients ask of it.
    pub(super) fn serves(&self, rules: &Rules, id: u8) -> bool {
        let (Some(primary), Some(configuration)) = (self.node(id).primary(), self.configuration_of(id)) else {
            return false;
        };
        let lets = |other: u8| primary.peers[usize::from(other)].lease_age < rules.scope.clocks.lease;
        let has_lease = configuration.others(id).all(lets) || !rules.keep(Flaw::LeaseIgnored);
        primary.is_open && !primary.is_leaving && has_lease
    }

    /// Sends a message, if there is room for it on the way. One that is there already is not there twice.
    pub(super) fn send(&mut self, rules: &Rules, message: Message) {
        if self.messages.len() < usize::from(rules.scope.on_the_way)
            && let Err(place) = self.messages.binary_search(&message)
        {
            self.messages.insert(place, message);
        }
    }

    /// A unit of time passes. The clocks of the nodes in `fast` gain more.
    pub(super) fn tick(&mut self, rules: &Rules, fast: u8) {
        let clocks = &rules.scope.clocks;
        let gain = |id: u8| if fast >> id & 1 == 1 { clocks.fast } else { clocks.slow };
        for id in rules.nodes() {
            let node = self.node_mut(id);
            node.granted_ago = (node.granted_ago + gain(id)).min(clocks.grace);
            if let Role::Primary(primary) = &mut node.role {
                for peer in &mut primary.peers {
                    peer.lease_age = (peer.lease_age + gain(id)).min(clocks.lease);
                }
            }
        }
        for message in &mut self.messages {
            let gained = gain(message.dated_by());
            if let Some(age) = message.age() {
                *age = (*age + gained).min(clocks.lease);
            }
            message.forget_old_grant(rules.oldest_grant());
        }
        self.messages.sort_unstable();
        self.messages.dedup();
        rules.nodes().for_each(|id| self.advance(rules, id));
    }

    /// True if what a node's clock shows matters to anything that is under way.
    pub(super) fn has_timer(&self, rules: &Rules, id: u8) -> bool {
        let (node, clocks) = (self.node(id), &rules.scope.clocks);
        let leases = |primary: &Primary| primary.peers.iter().any(|peer| peer.lease_age < clocks.lease);
        let is_dated = |message: &Message| {
            let mut message = *message;
            message.dated_by() == id && message.age().is_some_and(|age| *age < clocks.lease)
        };
        node.granted_ago < clocks.grace || node.primary().is_some_and(leases) || self.messages.iter().any(is_dated)
    }

    /// Where nothing can be lost, what is written is on disk at once: the time in between makes no difference.
    pub(super) fn write_through(&mut self, rules: &Rules) {
        for id in rules.nodes() {
            let has_all = self.node(id).primary().is_none() || rules.scope.kills == self.kills;
            if rules.scope.cuts == 0 && has_all && self.node(id).journal.has_unsynced() {
                self.sync(rules, id);
            }
        }
    }

    /// The kernel has what a node's process has written.
    pub(super) fn hand(&mut self, rules: &Rules, id: u8) {
        self.node_mut(id).journal.hand();
        self.advance(rules, id);
    }

    /// The disk has it too.
    pub(super) fn sync(&mut self, rules: &Rules, id: u8) {
        self.node_mut(id).journal.sync();
        self.become_sound(rules, id);
        self.advance(rules, id);
    }

    /// A process is killed and starts again.
    pub(super) fn kill(&mut self, rules: &Rules, id: u8) {
        self.kills += 1;
        self.node_mut(id).journal.kill();
        self.begin(rules, id);
    }

    /// A machine loses its power and starts again. So many operations have come to the disk.
    pub(super) fn cut(&mut self, rules: &Rules, id: u8, ops: u8) {
        self.cuts += 1;
        self.cut_nodes |= 1 << id;
        let node = self.node_mut(id);
        node.journal.cut(ops);
        if let (Standing::Sound(epoch), true) = (node.journal.standing(), rules.keep(Flaw::CutTakenForRestart)) {
            node.journal.note(Standing::Doubtful(epoch));
            node.journal.hand();
        }
        self.begin(rules, id);
    }

    fn begin(&mut self, rules: &Rules, id: u8) {
        let newest = self.newest();
        let granted_ago = if rules.keep(Flaw::StartGrantsNothing) { 0 } else { rules.scope.clocks.grace };
        self.node_mut(id).begin(newest, granted_ago);
    }

    /// Messages that whoever gets them ignores, now and for ever, are not told apart from none.
    pub(super) fn forget_messages(&mut self, rules: &Rules) {
        let mut messages = std::mem::take(&mut self.messages);
        messages.retain(|message| self.may_matter(rules, message));
        self.messages = messages;
    }

    fn may_matter(&self, rules: &Rules, message: &Message) -> bool {
        use super::message::Body;
        let to = self.node(message.to);
        match message.body {
            Body::Append { .. } if !rules.keep(Flaw::EpochIgnored) => true,
            _ if message.epoch < to.epoch => false,
            Body::Appended { start, .. } => {
                let is_primary = message.epoch > to.epoch || to.primary().is_some();
                is_primary && start == self.node(message.from).start
            }
            Body::Status { .. } => message.epoch > to.epoch || to.primary().is_some() || rules.scope.losses,
            _ => true,
        }
    }
}
