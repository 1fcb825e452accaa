use super::*;

#[test]
fn content_arrives_as_it_was_sent_or_not_at_all() {
    let transfer = Transfer::make().unwrap();
    for choice in 0..4 {
        transfer.try_script(&[choice, 0]).unwrap();
        for (number, place) in (0..7).flat_map(|number| [3, 40, 90].map(|place| (number, place))) {
            for kind in [0, 1, 4] {
                transfer.try_script(&[choice, number, kind, 1, place, number % 3, 0, 0xa5, 0x5a]).unwrap();
            }
        }
    }
}

#[test]
fn lent_blocks_change_nothing_that_is_sound() {
    let transfer = Transfer::make().unwrap();
    for choice in 0..2 {
        for place in (0..=250).step_by(10) {
            for kind in 0..5 {
                transfer.try_lending(&[choice, kind, 1, place, place % 4, 0, 0xa5, 0x5a]).unwrap();
            }
        }
    }
}

#[test]
fn other_content_is_noticed() {
    let mut transfer = Transfer::make().unwrap();
    transfer.content[BLOCK_BYTES] ^= 1;
    assert!(transfer.try_script(&[2, 7]).is_err());
}
