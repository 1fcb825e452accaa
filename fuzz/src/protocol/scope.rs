//! How far the model is explored: several small worlds, each with what makes one kind of trouble.

use super::flaw::Flaw;

/// Leases, and clocks that drift. In each unit of true time a clock gains `slow` or `fast`, as it likes, each time anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clocks {
    /// What a slow clock gains in a unit of time.
    pub slow: u8,
    /// What a fast clock gains in a unit of time.
    pub fast: u8,
    /// How long a grant lets the primary serve, by the primary's clock.
    pub lease: u8,
    /// How long a member that granted does not take over, by its own clock.
    pub grace: u8,
}

impl Clocks {
    /// A clock may be off by a third: `lease * 4/3 < grace * 2/3`, and no smaller numbers do.
    pub const DRIFTING: Self = Self { slow: 1, fast: 2, lease: 2, grace: 5 };

    /// Leases end all at once. For scopes that ask what else may go wrong.
    pub const EXACT: Self = Self { slow: 1, fast: 1, lease: 1, grace: 1 };
}

/// Bounds. Within them every step is taken at every moment: messages are late, repeated, lost and overtaken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// What the report calls it.
    pub name: &'static str,
    /// Nodes, at most 3. All are wanted as replicas.
    pub nodes: u8,
    /// Of them the first so many are members in the beginning.
    pub members: u8,
    /// Nothing is acknowledged with fewer members.
    pub in_sync_min: u8,
    /// Configurations there may be.
    pub epochs: u8,
    /// Writes of clients.
    pub writes: u8,
    /// Processes that are killed.
    pub kills: u8,
    /// Machines that lose their power.
    pub cuts: u8,
    /// Messages on the way at a time, of all nodes together.
    pub on_the_way: u8,
    /// Messages arrive once more after they have arrived.
    pub repeats: bool,
    /// Proposals reach the configuration service late.
    pub late_proposals: bool,
    /// The primary gives the volume away.
    pub hands_over: bool,
    /// Members tell each other what they have, so that a loss of all can be decreed.
    pub losses: bool,
    /// Every state is healed: from then on nothing fails, and the volume must be served again.
    pub heals: bool,
    /// Leases.
    pub clocks: Clocks,
}

impl Scope {
    /// Two nodes, of which each may go on alone: everything hangs on the lease.
    const LEASE: Self = Self {
        name: "lease",
        nodes: 2,
        members: 2,
        in_sync_min: 1,
        epochs: 3,
        writes: 1,
        kills: 0,
        cuts: 0,
        on_the_way: 1,
        repeats: false,
        late_proposals: false,
        hands_over: false,
        losses: false,
        heals: true,
        clocks: Clocks::DRIFTING,
    };

    /// The same, and a start that forgets what was promised.
    const RESTART: Self = Self { name: "restart", epochs: 2, kills: 1, heals: false, ..Self::LEASE };

    /// The volume is given away, which ends a lease early, and proposals come late.
    const HAND_OVER: Self =
        Self { name: "hand-over", hands_over: true, late_proposals: true, heals: false, ..Self::LEASE };

    /// Three nodes: what one has missed another has.
    const THREE: Self =
        Self { name: "three", nodes: 3, members: 3, in_sync_min: 2, epochs: 2, clocks: Clocks::EXACT, ..Self::LEASE };

    /// A power cut takes what was not synced.
    const CUT: Self = Self { name: "cut", epochs: 2, cuts: 1, clocks: Clocks::EXACT, heals: false, ..Self::LEASE };

    /// Every member loses its power, and one of them goes on.
    const LOSS: Self = Self { name: "loss", in_sync_min: 2, cuts: 2, losses: true, heals: true, ..Self::CUT };

    /// All that are explored.
    pub const ALL: [Self; 6] = [Self::LEASE, Self::RESTART, Self::HAND_OVER, Self::THREE, Self::CUT, Self::LOSS];

    /// The same, and so much more of everything.
    #[must_use]
    pub fn beyond(&self, more: u8) -> Self {
        let (epochs, writes, on_the_way) = (self.epochs + more, self.writes + more, self.on_the_way + more);
        Self { epochs, writes, on_the_way, ..*self }
    }

    /// Where it shows that a rule is left out.
    #[must_use]
    pub fn showing(flaw: Flaw) -> Self {
        let late = Self { on_the_way: 2, ..Self::THREE };
        let scope = match flaw {
            Flaw::GraceWithoutDrift | Flaw::LeaseIgnored | Flaw::ChangeNotCompared => Self::LEASE,
            Flaw::LeaseFromArrival | Flaw::StartGrantsNothing => Self { on_the_way: 2, ..Self::RESTART },
            Flaw::EpochIgnored | Flaw::AcknowledgedBeforeBackups => late,
            Flaw::AnybodyPromoted => Self { members: 2, ..late },
            Flaw::EpochUsedTwice => Self { kills: 1, ..late },
            Flaw::CutTakenForRestart => Self { on_the_way: 2, ..Self::CUT },
            Flaw::SinceIgnored => Self { epochs: 4, clocks: Clocks::EXACT, ..Self::LEASE },
        };
        // What is wrong shall show in what was answered, not only in that nothing is any more.
        Self { heals: false, ..scope }
    }
}
