use super::*;

#[test]
fn what_clients_get_leaves_the_store_its_files() {
    for max in [1024, 1500, 2048, 4096, 1 << 20, u64::MAX] {
        let descriptors = Descriptors { max };
        let taken = descriptors.nbd_connections() + 2 * descriptors.senders();
        assert!(taken as u64 <= max - KEPT, "{max}: {taken}");
        assert!(descriptors.nbd_connections() >= 96 && descriptors.senders() >= 24, "{max}");
    }
}

#[test]
fn a_low_limit_is_told() {
    let low = Descriptors { max: 1024 };
    assert!(low.warning().unwrap().contains("is 1024, so at most 96 clients"));
    let enough = Descriptors { max: 4096 };
    assert_eq!((enough.nbd_connections(), enough.senders()), (1024, 256));
    assert_eq!(enough.warning(), None);
    assert_eq!(Descriptors { max: 100 }.nbd_connections(), 32);
}
