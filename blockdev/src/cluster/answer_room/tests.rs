use super::*;

const NODE: NodeId = NodeId(1);

#[test]
fn answers_have_their_room_until_they_are_sent() {
    let room = Arc::new(AnswerRoom::of(0));
    let half = BYTES_MIN / 2;
    let answer = room.take(NODE, half).unwrap().holding(Bytes::from_static(b"answer"));
    let _other = room.take(NODE, half).unwrap();
    assert!(room.take(NODE, 1).is_none());
    assert!(room.take(NodeId(2), 1).is_some(), "another node has room of its own");
    let part = answer.slice(2..);
    drop(answer);
    assert!(room.take(NODE, 1).is_none(), "a part is still to be sent");
    assert_eq!(part, &b"swer"[..]);
    drop(part);
    assert!(room.take(NODE, half).is_some());
}

#[test]
fn a_read_waits_for_room_that_comes_in_a_moment() {
    let room = Arc::new(AnswerRoom::of(0));
    let first = room.take(NODE, BYTES_MIN).unwrap();
    std::thread::scope(|scope| {
        let (room, (said, heard)) = (&room, std::sync::mpsc::channel());
        scope.spawn(move || {
            let _second = (0..1000).find_map(|_| room.take(NODE, BYTES_MIN)).expect("it was given back");
            said.send(()).unwrap();
        });
        drop(first);
        heard.recv().unwrap();
    });
    assert!(room.taken.lock().is_empty());
}
