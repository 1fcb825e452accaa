use super::Transmission;

#[test]
fn an_edited_stream_is_received_as_it_was_sent_or_not_at_all() {
    let transmission = Transmission::make().unwrap();
    transmission.try_script(&[]).unwrap();
    for place in (0..transmission.stream.len()).step_by(7) {
        let [low, middle, high, _] = (place as u32).to_le_bytes();
        for kind in 0..5 {
            transmission.try_script(&[kind, 1, low, middle, high, 0xa5, 0x5a]).unwrap();
        }
    }
}

#[test]
fn something_else_in_place_of_what_was_sent_is_noticed() {
    let mut transmission = Transmission::make().unwrap();
    std::mem::swap(&mut transmission.root, &mut transmission.base);
    assert!(transmission.try_script(&[]).is_err());
    assert!(transmission.try_script(&[2, 0, 100, 0, 0]).is_err());
}
