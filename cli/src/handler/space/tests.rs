use siltstone::store::clock::SystemClock;
use siltstone::store::device::sim::{Faults, SimDevice};
use siltstone::store::rng::SeededRng;
use siltstone::store::{Environment, Options, Settings, Store};

use super::*;

fn numbers() -> Numbers {
    let environment = Environment {
        device: std::sync::Arc::new(SimDevice::new(1, Faults::none())),
        clock: std::sync::Arc::new(SystemClock::new()),
        rng: std::sync::Arc::new(SeededRng::new(1)),
    };
    Store::create(&environment, Settings::default()).unwrap();
    let store = Store::open(environment, Options { read_only: true, ..Options::default() }).unwrap();
    store.status()
}

#[test]
fn it_warns_from_the_threshold_on_and_says_what_to_do() {
    let numbers = |room_bytes| Numbers {
        total_bytes: 1100,
        kept_bytes: 100,
        room_bytes,
        free_bytes: room_bytes + 100,
        ..numbers()
    };
    let at = |room| status(&numbers(room), &WarnAt::default());
    assert_eq!((at(201).used_percent, at(201).warning), (79, None));
    let warned = at(200);
    assert_eq!((warned.used_percent, warned.used_bytes, warned.free_bytes), (80, 800, 200));
    let text = warned.warning.unwrap();
    assert!(text.starts_with("80 % of the space") && text.contains("silt trash purge") && text.contains("add disk"));
    let fixed = status(&Numbers { capacity_bytes: Some(1100), ..numbers(0) }, &WarnAt::default());
    assert!(fixed.warning.unwrap().contains("silt capacity") && fixed.used_percent == 100);
    assert_eq!(status(&numbers(10), &"100".parse().unwrap()).warning, None);
}

#[test]
fn thresholds_that_make_no_sense_are_refused() {
    assert_eq!("75,95".parse(), Ok(WarnAt(vec![75, 95])));
    for text in ["", "80,", "0", "101", "90,80", "80,80", "a"] {
        assert!(text.parse::<WarnAt>().is_err(), "{text}");
    }
}
