use super::*;
use crate::envelope::Family;

fn event(at_ms: u64, text: &str) -> Event {
    Event { at_ms, kind: "node_joined".into(), subject: "n2".into(), text: text.into() }
}

fn copying() -> Copying {
    Copying { volume: VolumeId(7), to: NodeId(3), done_bytes: 4096, total_bytes: 1 << 30, rate_bytes: Some(9) }
}

fn hex(message: &Message) -> String {
    message.body.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes() {
    assert_eq!((NEWS.0, TOLD.0), (0x0204, 0x0205));
    let messages = [
        Asked::Copying.encode(),
        Asked::Events(5).encode(),
        Told::Copying(vec![copying()]).encode(),
        Told::Events(vec![event(5, "node n2 joined")]).encode(),
    ];
    let expected = [
        "000000000000000000",
        "010500000000000000",
        "070000000000000003000000000000000010000000000000000000400000000001090000000000000000d6ffffff01000000",
        "6e6f64655f6a6f696e65646e6f6465206e32206a6f696e656405000000000000008b000000dfffffff6e32ffffffffffff8e000000daffffff01dfffffff01000000",
    ];
    assert_eq!(messages.each_ref().map(hex), expected);
}

#[test]
fn what_is_said_is_what_is_heard() {
    for asked in [Asked::Copying, Asked::Events(u64::MAX)] {
        assert_eq!(Asked::decode(&asked.encode()).unwrap(), asked);
    }
    let none = Copying { rate_bytes: None, ..copying() };
    for told in
        [Told::Copying(vec![copying(), none]), Told::Copying(vec![]), Told::Events(vec![event(1, "a"), event(2, "")])]
    {
        assert_eq!(Told::decode(&told.clone().encode()).unwrap(), told);
    }
    assert!(Told::decode(&Asked::Copying.encode()).is_err() && Asked::decode(&Told::Events(vec![]).encode()).is_err());
    let whole = Told::Events(vec![event(1, "a text")]).encode();
    for len in 0..whole.body.len() {
        let cut = Message::new(TOLD, whole.body.slice(..len));
        // Some prefixes are an answer too, but never the same one.
        assert_ne!(Told::decode(&cut).ok(), Some(Told::Events(vec![event(1, "a text")])));
    }
}

#[test]
fn an_answer_fits_and_has_the_newest() {
    let many: Vec<_> = (0..5000).map(|at_ms| event(at_ms, &"x".repeat(400))).collect();
    let message = Told::Events(many).encode();
    assert!(message.body.len() < Family::Control.body_bytes_max() as usize);
    let Told::Events(events) = Told::decode(&message).unwrap() else { panic!("it has events") };
    assert!(events.len() > 500);
    assert_eq!(events.last().unwrap().at_ms, 4999);
    assert!(events.is_sorted_by(|a, b| a.at_ms + 1 == b.at_ms));
}
