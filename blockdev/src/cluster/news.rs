//! What other nodes know: copies that they make, and what happened there. Whoever does not answer soon is left out.

use std::sync::mpsc;
use std::time::Duration;

use net::envelope::Message;
use net::id::NodeId;
use net::news::{self, Asked, Copying, Told};
use net::transport::{RequestError, Transport};

use super::core::Core;
use crate::events::Event;

/// How long nodes have for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something that happened, and the node that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterEvent {
    /// The node's name.
    pub node_name: String,
    /// What happened.
    pub event: Event,
}

impl Core {
    /// Answers another node.
    pub(super) fn tell_news(&self, question: &Message) -> Option<Message> {
        let told = match Asked::decode(question).ok()? {
            Asked::Copying => Told::Copying(self.copies.list()),
            Asked::Events(since_ms) => Told::Events(self.node.events().since(since_ms).into_iter().map(sent).collect()),
        };
        Some(told.encode())
    }

    /// The copies that this node and the others make.
    pub(super) fn all_copying(&self) -> Vec<Copying> {
        let others = self.ask_others(Asked::Copying).into_iter().filter_map(|(_, told)| match told {
            Some(Told::Copying(copying)) => Some(copying),
            _ => None,
        });
        self.copies.list().into_iter().chain(others.flatten()).collect()
    }

    /// What happened at this node and at the others, from the oldest; and the names of nodes that do not answer.
    pub(super) fn all_events(&self, since_ms: u64) -> (Vec<ClusterEvent>, Vec<String>) {
        let configuration = self.configuration();
        let name_of =
            |node: NodeId| configuration.node(node).map_or_else(String::new, |it| it.about.name.as_str().to_owned());
        let here = self.node.events().since(since_ms).into_iter();
        let mut events: Vec<_> = here.map(|event| ClusterEvent { node_name: name_of(self.me), event }).collect();
        let mut silent = Vec::new();
        for (node, told) in self.ask_others(Asked::Events(since_ms)) {
            match told {
                Some(Told::Events(theirs)) => {
                    let there = |event| ClusterEvent { node_name: name_of(node), event: received(event) };
                    events.extend(theirs.into_iter().map(there));
                }
                _ => silent.push(name_of(node)),
            }
        }
        events.sort_by_key(|told| told.event.at_ms);
        (events, silent)
    }

    /// Asks all others at once; `None` from those that are not reached or do not answer.
    fn ask_others(&self, asked: Asked) -> Vec<(NodeId, Option<Told>)> {
        let configuration = self.configuration();
        let others = configuration.nodes().filter(|node| node.is_present() && node.id != self.me).map(|node| node.id);
        let (sender, receiver) = mpsc::channel();
        let mut answers: Vec<(NodeId, Option<Told>)> = Vec::new();
        for node in others {
            answers.push((node, None));
            let Some(link) = self.transport().link(node) else { continue };
            let sender = sender.clone();
            // Somebody listens until all have answered or their time is over.
            let answered = move |answer: Result<Message, RequestError>| _ = sender.send((node, answer));
            self.transport().request(link, asked.encode(), PATIENCE, Box::new(answered));
        }
        drop(sender);
        for (node, answer) in receiver {
            let told = answer.ok().and_then(|message| Told::decode(&message).ok());
            answers.iter_mut().filter(|(other, _)| *other == node).for_each(|(_, slot)| slot.clone_from(&told));
        }
        answers
    }
}

fn sent(event: Event) -> news::Event {
    let Event { at_ms, kind, subject, text } = event;
    news::Event { at_ms, kind, subject, text }
}

fn received(event: news::Event) -> Event {
    let news::Event { at_ms, kind, subject, text } = event;
    Event { at_ms, kind, subject, text }
}
