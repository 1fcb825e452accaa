use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn schedule(every: &str, keep: &str) -> Schedule {
    Schedule::parse(every, keep).unwrap()
}

#[test]
fn schedules_are_read_and_written() {
    let schedule = schedule("10s", "1h:30d,10s:1h,1m:1d");
    assert_eq!(
        (schedule.every().to_string(), rules_text(schedule.keep())),
        ("10s".into(), "10s:1h,1m:1d,1h:30d".into())
    );
    assert_eq!(schedule.to_string(), "every=10s keep=10s:1h,1m:1d,1h:30d");
    assert_eq!(schedule.to_string().parse(), Ok(schedule.clone()));
    assert_eq!(Schedule::parse("10s", &rules_text(schedule.keep())), Ok(schedule));
    for text in ["", "10s 10s:1h", "every=10s", "keep=10s:1h every=10s"] {
        assert_eq!(text.parse::<Schedule>(), Err(InvalidSchedule::Text(text.to_owned())));
    }
}

#[test]
fn schedules_that_make_no_sense_are_refused() {
    let message = |every: &str, keep: &str| Schedule::parse(every, keep).unwrap_err().to_string();
    assert!(message("10", "10s:1h").starts_with(r#""10": write a whole number"#));
    assert!(message("10s", "10s:1x").starts_with(r#""1x": write"#));
    assert!(message("10s", "").contains("is no rule: write STEP:REACH"));
    assert!(message("10s", "1h").contains("is no rule: write STEP:REACH"));
    assert_eq!(message("10s", "1h:1h"), "the rule 1h:1h reaches no further than one step");
    assert_eq!(message("10s", "10s:1h,5s:1m"), "the rule 5s:1m asks for more than one snapshot every 10s");
    assert_eq!(message("1s", "1s:1d"), "that would keep 86400 snapshots, and 10000 is the most");
    assert_eq!(message("1s", &["1m:1h"; 17].join(",")), "a schedule has 1 to 16 rules");
}

#[test]
fn automatic_snapshots_are_named_by_their_time() {
    let names = [
        (0, "auto-19700101t000000z"),
        (1_795_677_300_999, "auto-20261126t071500z"),
        (951_782_399_000, "auto-20000228t235959z"),
        (951_782_400_000, "auto-20000229t000000z"),
        (4_107_542_400_000, "auto-21000301t000000z"),
        (1_798_761_599_000, "auto-20261231t235959z"),
    ];
    for (time_ms, name) in names {
        let named = automatic_name(time_ms);
        assert_eq!(named.as_str(), name);
        assert!(is_automatic(&named));
    }
    for name in [
        "auto",
        "auto-",
        "auto-20261126t071500",
        "auto-20261126t071500zz",
        "auto-2026112at071500z",
        "x20261126t071500z",
    ] {
        assert!(!is_automatic(&name.parse().unwrap()), "{name}");
    }
}

#[test]
fn names_that_are_no_times_say_none() {
    let ms = |name: &str| stamp_ms(&name.parse().unwrap());
    assert_eq!(ms("rewind-20261126t071500z"), Some(1_795_677_300_000));
    assert_eq!(ms("rewind-20261126t071500z-2"), Some(1_795_677_300_000));
    for name in [
        "before-20261126t071500z",
        "auto-20261126t0715",
        "auto-20261126t071500zz",
        "auto-20261126-071500z",
        "auto-20261326t071500z",
        "auto-20261100t071500z",
        "auto-20260230t071500z",
        "auto-20261126t241500z",
        "auto-19691231t235959z",
        "auto-00000101t000000z",
    ] {
        assert_eq!(ms(name), None, "{name}");
    }
}

#[test]
fn one_is_due_in_each_step_of_the_clock() {
    let schedule = schedule("10s", "10s:1h");
    assert!(schedule.is_due(None, 0));
    assert!(!schedule.is_due(Some(10_000), 19_999));
    assert!(schedule.is_due(Some(19_999), 20_000));
    assert!(schedule.is_due(Some(20_000), 5_000), "a clock that was set back");
}

#[test]
fn thinning_leaves_one_for_each_step() {
    let schedule = schedule("10s", "10s:30s,1m:3m");
    let times: Vec<u64> = (0..=60).map(|n| n * 10_000).collect();
    let gone = schedule.thin(&times, 600_000);
    let kept: Vec<u64> = (0..=60).filter(|index| !gone.contains(index)).map(|index| times[index] / 1000).collect();
    assert_eq!(kept, [420, 480, 540, 570, 580, 590, 600]);
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let rule = (1_u64..200, 2_u64..50);
    (1_u64..30, prop::collection::vec(rule, 1..4)).prop_map(|(every, rules)| {
        let span = |seconds| Span::from_seconds(seconds).unwrap();
        let rule = |(step, times)| {
            let step = every.max(step);
            Rule { step: span(step), reach: span(step * times) }
        };
        Schedule::new(span(every), rules.into_iter().map(rule).collect()).unwrap()
    })
}

/// A volume for which no snapshot can be made, whose snapshots go when they are told to.
#[derive(Default)]
struct Full(std::cell::RefCell<Vec<String>>);

impl Scheduled for Full {
    type Error = &'static str;

    fn has_changed(&self, _: Option<&VolumeName>) -> Result<bool, Self::Error> {
        Ok(true)
    }

    fn snapshot(&self, _: &VolumeName) -> Result<Option<u64>, Self::Error> {
        Err("full")
    }

    fn remove(&self, name: &VolumeName) -> Result<(), Self::Error> {
        self.0.borrow_mut().push(name.to_string());
        Ok(())
    }
}

#[test]
fn what_no_rule_keeps_goes_also_when_there_is_no_room_for_a_snapshot() {
    let made = [10_000, 20_000, 95_000].map(|time_ms| (automatic_name(time_ms), time_ms)).to_vec();
    let volume = Full::default();
    assert_eq!(schedule("10s", "10s:30s").follow(&volume, made.clone(), 100_000, Thinning::Held), Err("full"));
    assert!(volume.0.borrow().is_empty(), "the date may be wrong");
    assert_eq!(schedule("10s", "10s:30s").follow(&volume, made.clone(), 100_000, Thinning::Due), Err("full"));
    assert_eq!(*volume.0.borrow(), [made[0].0.to_string(), made[1].0.to_string()]);
}

#[test]
fn a_volume_that_fails_rests_and_others_do_not() {
    let (schedule, second) = (schedule("10s", "10s:1h"), Duration::from_secs(1));
    let mut turns = Turns::default();
    turns.failed('a', 5 * second);
    turns.followed('b', 100_000);
    let due = |turns: &Turns<char>, at: u32| {
        ['a', 'b'].map(|id| turns.is_due(id, &schedule, 95_000 + u64::from(at) * 1000, at * second))
    };
    assert_eq!(due(&turns, 6), [false, false], "one rests, the other was followed in this step");
    assert_eq!(due(&turns, 15), [false, true]);
    assert_eq!(due(&turns, 65), [true, true]);
    turns.followed('a', 160_000);
    assert_eq!(due(&turns, 66), [false, true]);
    turns.failed('a', 66 * second);
    turns.forget('a');
    assert_eq!(due(&turns, 66), [true, true], "it has another schedule");
    turns.failed('a', 66 * second);
    turns.retain(|id| id == 'b');
    assert_eq!(due(&turns, 66), [true, true]);
}

/// That each of `made` within a rule's reach has one of `left` in the same step.
fn assert_covered(schedule: &Schedule, made: &[u64], left: &[u64], now_ms: u64) {
    for rule in schedule.keep() {
        let within = made.iter().filter(|time| now_ms - **time < rule.reach.ms());
        for time in within {
            let step = time / rule.step.ms();
            assert!(
                left.iter().any(|other| other / rule.step.ms() == step),
                "{rule} has nothing at {time}, now {now_ms}"
            );
        }
    }
}

proptest! {
    /// Snapshots made as they are due and thinned at once, by a node that is sometimes down: what a rule promises is there
    /// at every moment, and not much more.
    #[test]
    fn thinning_step_by_step_keeps_what_the_rules_promise(
        schedule in any_schedule(), start in 0_u64..1 << 40, pauses in prop::collection::vec(1_u64..90_000, 1..300),
    ) {
        let (mut now_ms, mut last) = (start, None);
        let (mut made, mut left) = (Vec::new(), Vec::<u64>::new());
        for pause in pauses {
            now_ms += pause;
            if !schedule.is_due(last, now_ms) {
                continue;
            }
            last = Some(now_ms);
            made.push(now_ms);
            left.push(now_ms);
            let gone = schedule.thin(&left, now_ms);
            let times: Vec<u64> = gone.iter().map(|index| left[*index]).collect();
            left.retain(|time| !times.contains(time));
            assert_covered(&schedule, &made, &left, now_ms);
            prop_assert!(left.contains(&now_ms), "the newest stays");
            prop_assert!(schedule.thin(&left, now_ms).is_empty(), "done once, nothing is left to do");
            let promised: u64 = schedule.keep().iter().map(|rule| rule.reach.seconds() / rule.step.seconds() + 2).sum();
            prop_assert!(left.len() as u64 <= promised + 1, "{} are left of {promised}", left.len());
        }
    }

    /// Whatever there is, in any order and with times in the future.
    #[test]
    fn thinning_never_takes_what_is_promised(
        schedule in any_schedule(), times in prop::collection::vec(0_u64..10_000_000, 0..200), now_ms in 0_u64..10_000_000,
    ) {
        let gone = schedule.thin(&times, now_ms);
        prop_assert!(gone.iter().all(|index| times[*index] <= now_ms));
        let left: Vec<u64> = (0..times.len()).filter(|index| !gone.contains(index)).map(|index| times[index]).collect();
        let past: Vec<u64> = times.iter().copied().filter(|time| *time <= now_ms).collect();
        assert_covered(&schedule, &past, &left, now_ms);
        prop_assert_eq!(times.iter().max(), left.iter().max());
    }

    #[test]
    fn times_come_back_from_names(time_ms in 0_u64..253_402_300_800_000) {
        prop_assert_eq!(stamp_ms(&automatic_name(time_ms)), Some(time_ms / 1000 * 1000));
    }

    #[test]
    fn schedules_come_back_from_text(schedule in any_schedule()) {
        let (every, keep) = (schedule.every().to_string(), rules_text(schedule.keep()));
        prop_assert_eq!(Schedule::parse(&every, &keep), Ok(schedule));
    }
}
