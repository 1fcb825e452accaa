//! Changes that the export has begun and not finished, of exports whose changes take a while.

use std::collections::BTreeMap;

use super::Answer;
use super::writes::Part;

/// Bytes of writes under way; with more, a connection waits before it takes the next.
pub(super) const CHANGE_BYTES_MAX: usize = 16 << 20;

/// A change under way.
#[derive(Debug)]
pub(super) enum Started {
    /// Writes that were received together.
    Writes {
        /// What they are for.
        parts: Vec<Part>,
        /// Their payload.
        bytes: usize,
    },
    /// One of anything else.
    Zero(Answer),
    /// A sync for these.
    Sync(Vec<Answer>),
}

impl Started {
    fn bytes(&self) -> usize {
        match self {
            Self::Writes { bytes, .. } => *bytes,
            Self::Zero(_) | Self::Sync(_) => 0,
        }
    }

    /// Requests that nobody else counts.
    fn requests(&self) -> usize {
        match self {
            Self::Writes { .. } => 0,
            Self::Zero(_) => 1,
            Self::Sync(answers) => answers.len(),
        }
    }
}

/// Changes under way by token. Tokens ascend in the order in which changes were begun.
#[derive(Debug, Default)]
pub(super) struct Changes {
    under_way: BTreeMap<u64, Started>,
    next: u64,
    bytes: usize,
    requests: usize,
}

impl Changes {
    /// The token that the next change gets.
    pub(super) fn next_token(&self) -> u64 {
        self.next
    }

    /// Notes the change that has got the next token.
    pub(super) fn start(&mut self, started: Started) {
        self.bytes += started.bytes();
        self.requests += started.requests();
        self.under_way.insert(self.next, started);
        self.next += 1;
    }

    /// Takes a change that has come to its end.
    pub(super) fn finish(&mut self, token: u64) -> Started {
        let started = self.under_way.remove(&token).expect("a change finishes once");
        self.bytes -= started.bytes();
        self.requests -= started.requests();
        started
    }

    /// True if everything that was begun before `token` has come to its end.
    pub(super) fn is_done_before(&self, token: u64) -> bool {
        self.under_way.keys().next().is_none_or(|first| *first >= token)
    }

    /// Payload of the writes under way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Requests other than writes that wait for a change under way.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }
}
