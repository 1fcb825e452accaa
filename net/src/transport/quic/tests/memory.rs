//! What a small node holds for its peers.

use crate::transport::quic::Config;

#[test]
fn queues_are_part_of_the_nodes_memory_and_each_holds_a_message() {
    let listen = "127.0.0.1:0".parse().unwrap();
    for mib in [1, 128, 256, 300, 1 << 10, 1 << 20] {
        let config = Config::within(listen, mib << 20);
        config.check().unwrap();
        assert!(
            mib < 256 || config.peer_bytes_max() as u64 <= (mib << 20) / 5,
            "{mib} MiB: {}",
            config.peer_bytes_max()
        );
    }
    let (most, usual) = (Config::within(listen, 1 << 40), Config::new(listen));
    assert_eq!(most.peer_bytes_max(), usual.peer_bytes_max());
}
