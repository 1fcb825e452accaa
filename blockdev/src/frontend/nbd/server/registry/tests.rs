use super::*;

#[test]
fn counts_are_kept_of_so_many_exports_and_of_those_that_were_left_last() {
    let mut state = State::default();
    for number in 0..ENDED_MAX {
        state.end(format!("v{number}"), &Counters::default());
    }
    state.end("v0".into(), &Counters::default());
    state.end("new".into(), &Counters::default());
    assert_eq!(state.ended.len(), ENDED_MAX);
    let is_there = |name: &str| state.ended.contains_key(name);
    assert!(is_there("v0") && is_there("new") && is_there("v2") && !is_there("v1"));
}
