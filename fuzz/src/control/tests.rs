use super::*;
use crate::specimen::edited;

#[test]
fn both_ends_understand_the_golden_conversation_and_no_other() {
    let golden = Conversation::hold().unwrap();
    say_to_node(&golden.client).unwrap();
    say_to_client(&golden.node).unwrap();
    assert!(say_to_node(&golden.node).is_err() && say_to_client(&golden.client).is_err());
}

#[test]
fn bytes_that_are_changed_anywhere_are_an_error_or_an_answer() {
    let golden = Conversation::hold().unwrap();
    let (mut refused, step) = (0, 7);
    for at in (0..golden.client.len()).step_by(step) {
        let [low, middle, high, _] = (at as u32).to_le_bytes();
        for kind in 0..5 {
            let script = [kind, 3, low, middle, high, 0xff, b'"', 0, b'}'];
            refused += usize::from(say_to_node(&edited(&golden.client, &script)).is_err());
            refused += usize::from(say_to_client(&edited(&golden.node, &script)).is_err());
        }
    }
    assert!(refused > golden.client.len() / step, "most of it makes no sense any more");
}
