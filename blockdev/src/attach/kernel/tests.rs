use super::*;

#[test]
fn device_numbers_round_trip() {
    for index in [0, 7, 1234] {
        assert_eq!(device_index(&device_node(index)), Some(index));
    }
    for other in ["/dev/loop0", "/dev/nbd", "/dev/nbd0p1", "/dev/nbd-1", "nbd0"] {
        assert_eq!(device_index(Path::new(other)), None, "{other}");
    }
}

#[test]
fn the_module_is_known_by_its_file() {
    for yes in ["kernel/drivers/block/nbd.ko", "kernel/drivers/block/nbd.ko.xz", "nbd.ko.zst"] {
        assert!(is_nbd_module(yes), "{yes}");
    }
    for no in ["kernel/drivers/block/rnbd.ko", "kernel/drivers/block/nbd", "kernel/fs/nbd.kool"] {
        assert!(!is_nbd_module(no), "{no}");
    }
}

/// On a kernel with the driver this finds it; on one without, the answer has to be that there is none, not a failure.
#[test]
fn a_missing_driver_is_told_from_a_failing_one() {
    match Driver::open() {
        Ok(driver) => assert!(driver.family > 0),
        Err(AttachError::NoDriver(_)) => assert!(!Path::new("/sys/module/nbd").exists()),
        Err(error) => panic!("{error}"),
    }
}
