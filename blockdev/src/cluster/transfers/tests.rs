use super::*;

const VOLUME: VolumeId = VolumeId(7);
const SENDER: NodeId = NodeId(1);
const TRANSFER: TransferId = TransferId(9);

#[test]
fn only_its_sender_can_have_a_transfer_refused() {
    let transfers = Transfers::default();
    transfers.expect(VOLUME, SENDER, TRANSFER);
    transfers.refuse(NodeId(2), TRANSFER);
    assert_eq!(transfers.expected(SENDER, TRANSFER), Some(VOLUME));
    assert_eq!(transfers.expected(NodeId(2), TRANSFER), None);
    transfers.refuse(SENDER, TRANSFER);
    assert_eq!(transfers.expected(SENDER, TRANSFER), None);
}

#[test]
fn a_transfer_is_cancelled_until_it_ends_and_leaves_nothing() {
    let transfers = Transfers::default();
    // Also of one that waits for its turn.
    transfers.begin_sending(TRANSFER);
    assert!(!transfers.is_cancelled(TRANSFER));
    transfers.cancel(TRANSFER);
    assert!(transfers.is_cancelled(TRANSFER));
    transfers.end_sending(TRANSFER);
    transfers.cancel(TRANSFER);
    transfers.cancel(TransferId(10));
    assert!(transfers.0.lock().sending.is_empty());
}
