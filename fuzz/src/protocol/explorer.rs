//! Every step from every state, once.

use std::num::NonZeroUsize;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use super::change::Change;
use super::flaw::Flaw;
use super::message::Message;
use super::scope::Scope;
use super::state::{Proposal, Rules, State};

/// One step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Step {
    /// Time passes; the clocks of some nodes gain more than those of others.
    Tick { fast: u8 },
    /// A client writes.
    Write(u8),
    /// The kernel has what a process wrote.
    Hand(u8),
    /// The disk has it.
    Sync(u8),
    /// The primary sends its log, or asks.
    Send(u8, u8),
    /// A node that is not sure of what it has says so.
    Tell(u8, u8),
    /// A message arrives.
    Deliver(Message),
    /// A message arrives and will once more.
    Repeat(Message),
    /// A message is lost.
    Lose(Message),
    /// A node learns of a configuration.
    Learn(u8, u8),
    /// A node proposes one.
    Propose(u8, Change),
    /// A proposal reaches the service.
    Accept(Proposal),
    /// A process is killed and starts again.
    Kill(u8),
    /// A machine loses its power, with so many operations on disk.
    Cut(u8, u8),
}

impl Model for Rules {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.nodes().for_each(|id| self.steps_of(state, id, steps));
        for message in &state.messages {
            steps.push(Step::Deliver(*message));
            steps.push(Step::Lose(*message));
            if self.scope.repeats {
                steps.push(Step::Repeat(*message));
            }
        }
        steps.extend(state.proposals.iter().copied().map(Step::Accept));
        let dated = self.nodes().filter(|id| state.has_timer(self, *id)).fold(0, |set: u8, id| set | 1 << id);
        let rates = if self.scope.clocks.slow == self.scope.clocks.fast { 0 } else { dated };
        if dated != 0 {
            steps.extend((0..1 << self.scope.nodes).filter(|fast| fast & !rates == 0).map(|fast| Step::Tick { fast }));
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Tick { fast } => state.tick(self, fast),
            Step::Write(id) => state.write(self, id),
            Step::Hand(id) => state.hand(self, id),
            Step::Sync(id) => state.sync(self, id),
            Step::Send(id, to) => state.send_log(self, id, to),
            Step::Tell(id, to) => state.report(self, id, to, self.scope.clocks.lease),
            Step::Deliver(message) => {
                state.messages.retain(|other| *other != message);
                state.deliver(self, message);
            }
            Step::Repeat(message) => state.deliver(self, message),
            Step::Lose(message) => state.messages.retain(|other| *other != message),
            Step::Learn(id, epoch) => state.learn(self, id, epoch),
            Step::Propose(id, change) => state.propose(self, id, change),
            Step::Accept(proposal) => state.accept(self, &proposal),
            Step::Kill(id) => state.kill(self, id),
            Step::Cut(id, ops) => state.cut(self, id, ops),
        }
        state.write_through(self);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one primary serves", |rules: &Self, state: &State| state.has_one_primary(rules)),
            Property::always("reads see what was answered", |rules: &Self, state: &State| {
                state.shows_what_was_told(rules)
            }),
            Property::always("nothing answered is lost", |_: &Self, state: &State| state.keeps_what_was_told()),
            Property::always("epoch and LSN name one record", |_: &Self, state: &State| state.names_are_unique()),
            Property::always("no log contradicts what must stay", |_: &Self, state: &State| state.has_not_diverged()),
            Property::always("a loss is a loss", |_: &Self, state: &State| state.losses_are_true()),
            Property::always("the volume can be served again", |rules: &Self, state: &State| {
                !rules.scope.heals || state.heals(rules)
            }),
            Property::sometimes("another node serves", |rules: &Self, state: &State| {
                rules.nodes().any(|id| id != 0 && state.serves(rules, id))
            }),
        ]
    }
}

impl Rules {
    /// What a node can do, and what can happen to it.
    fn steps_of(&self, state: &State, id: u8, steps: &mut Vec<Step>) {
        let (scope, node) = (&self.scope, state.node(id));
        if state.writes < scope.writes && state.may_write(id) {
            steps.push(Step::Write(id));
        }
        if node.journal.has_unhanded() && scope.cuts > 0 {
            steps.push(Step::Hand(id));
        }
        if node.journal.has_unsynced() {
            steps.push(Step::Sync(id));
        }
        for to in self.nodes().filter(|to| *to != id) {
            if state.has_news(id, to) {
                steps.push(Step::Send(id, to));
            }
            if state.may_tell(self, id, to) {
                steps.push(Step::Tell(id, to));
            }
        }
        steps.extend((node.epoch + 1..=state.newest()).map(|epoch| Step::Learn(id, epoch)));
        let has_proposed = state.proposals.iter().any(|proposal| proposal.by == id);
        if state.newest() < scope.epochs && !has_proposed {
            steps.extend(state.changes(self, id).into_iter().map(|change| Step::Propose(id, change)));
        }
        if state.kills < scope.kills {
            steps.push(Step::Kill(id));
        }
        if state.cuts < scope.cuts {
            steps.extend((0..node.journal.ways_to_cut()).map(|ops| Step::Cut(id, ops)));
        }
    }
}

/// What came of an exploration.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps of the longest of the shortest ways to a state.
    pub depth: usize,
    /// Every state within the bounds was reached.
    pub is_complete: bool,
    /// What does not hold, and the way to a state in which it does not.
    pub broken: Vec<(&'static str, String)>,
    /// What should happen sometimes, and does.
    pub happens: Vec<&'static str>,
}

/// Explores all of a scope, or until something does not hold. `states_max` bounds the memory that it takes.
#[must_use]
pub fn explore(scope: Scope, flaw: Option<Flaw>, threads: usize, states_max: Option<NonZeroUsize>) -> Explored {
    let mut rules = Rules { scope, flaw };
    if flaw == Some(Flaw::GraceWithoutDrift) {
        rules.scope.clocks.grace = scope.clocks.lease;
    }
    let mut builder = rules.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(most) = states_max {
        builder = builder.target_state_count(most.get());
    }
    let checker = builder.spawn_bfs().join();
    let always = |name: &str| !matches!(name, "another node serves");
    let discoveries = checker.discoveries();
    let broken: Vec<_> = discoveries
        .iter()
        .filter(|(name, _)| always(name))
        .map(|(name, path)| (*name, format!("{:#?}", path.clone().into_actions())))
        .collect();
    let happens = discoveries.keys().copied().filter(|name| !always(name)).collect();
    let is_complete = broken.is_empty() && states_max.is_none_or(|most| checker.state_count() < most.get());
    Explored { states: checker.unique_state_count(), depth: checker.max_depth(), is_complete, broken, happens }
}
