use super::*;

#[test]
fn what_clients_get_leaves_the_store_its_files() {
    for max in [1300, 2048, 4096, 8192, 1 << 20, u64::MAX] {
        let descriptors = Descriptors { max };
        let taken = NBD_EACH as usize * descriptors.nbd_connections() + SENDER_EACH as usize * descriptors.senders();
        assert!(taken as u64 <= max - KEPT, "{max}: {taken}");
        assert!(descriptors.nbd_connections() >= 12 && descriptors.senders() >= 4, "{max}");
    }
}

#[test]
fn a_low_limit_is_told() {
    let low = Descriptors { max: 1024 };
    assert!(low.warning().unwrap().contains("is 1024, so at most 12 clients"));
    let enough = Descriptors { max: 8192 };
    assert_eq!((enough.nbd_connections(), enough.senders()), (1024, 256));
    assert_eq!(enough.warning(), None);
    assert_eq!(Descriptors { max: 100 }.nbd_connections(), 12);
}
