//! The model of the replication protocol, explored completely.

use std::num::NonZeroUsize;

use fuzz::protocol::{Flaw, Scope, explore};

/// What no scope comes near: a search that is as large as this has left its bounds.
const STATES_MAX: Option<NonZeroUsize> = NonZeroUsize::new(200_000_000);

#[test]
fn within_its_bounds_the_protocol_keeps_its_promises() {
    for scope in Scope::ALL {
        let explored = explore(scope, None, 2, STATES_MAX);
        assert!(explored.broken.is_empty(), "{}: {:?}", scope.name, explored.broken);
        assert!(explored.is_complete, "{}: not all of it was seen: {explored:?}", scope.name);
        assert!(explored.happens.contains(&"another node serves"), "{}: nobody takes over", scope.name);
    }
}

#[test]
fn each_rule_that_is_left_out_is_missed() {
    for flaw in Flaw::ALL {
        let explored = explore(Scope::showing(flaw), Some(flaw), 2, STATES_MAX);
        assert!(!explored.broken.is_empty(), "{flaw:?} goes unnoticed: {explored:?}");
    }
}
