//! Schedules of replicated volumes.

use blockdev::schedule::{Schedule, is_automatic};

use super::*;

fn made(member: &Member) -> Vec<String> {
    let snapshots = member.cluster.snapshots(&name("db")).unwrap().into_iter();
    snapshots.map(|known| known.name.snapshot).filter(is_automatic).map(|name| name.to_string()).collect()
}

fn wall_ms() -> u64 {
    SystemClock::new().wall().as_millis().try_into().unwrap()
}

#[test]
fn the_primary_follows_a_schedule_whichever_node_it_is() {
    let scratch = Scratch::new("schedule");
    let mut members = cluster_of(&scratch, 3);
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let schedule = Schedule::parse("1s", "1s:1h").unwrap();
    let export = members[2].open_volume("db");
    write(&export, 0, 1, 4096);
    let set = members[1].cluster.set_schedule(&name("db"), Some(&schedule)).unwrap();
    assert_eq!(set.schedule, Some(schedule.clone()));
    wait_until("there is a snapshot", || made(&members[1]).len() == 1);
    // Nothing has changed since, so there is no other; and each is made once, by one of the nodes.
    SystemClock::new().sleep(Duration::from_millis(2500));
    let first = made(&members[1]);
    assert_eq!(first.len(), 1);
    write(&export, 0, 2, 4096);
    wait_until("there is another", || made(&members[1]).len() == 2);
    // The primary stops, and the next one goes on.
    drop(export);
    let primary = members[1].primary("db").to_string();
    let primary = members.iter().position(|member| member.path.ends_with(&primary)).unwrap();
    members.remove(primary).stop();
    let client = members.remove(0);
    let export = client.open_volume("db");
    write(&export, 0, 3, 4096);
    wait_until("there is a third", || made(&client).len() == 3);
    assert_eq!(made(&client)[0], first[0]);
    client.cluster.set_schedule(&name("db"), None).unwrap();
    drop(export);
    client.stop();
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn a_volume_goes_back_by_time() {
    let scratch = Scratch::new("rewind");
    let member = Member::found(scratch.0.join("1"));
    member.create("db", 1);
    let export = member.open_volume("db");
    write(&export, 0, 1, 4096);
    member.cluster.snapshot(&snapshot("db@a")).unwrap();
    let time_ms = wall_ms();
    SystemClock::new().sleep(Duration::from_millis(10));
    write(&export, 0, 2, 4096);
    member.cluster.snapshot(&snapshot("db@b")).unwrap();
    write(&export, 0, 3, 4096);
    assert!(member.cluster.rewind(&name("db"), time_ms).is_err(), "a client has it open");
    assert_eq!(member.cluster.snapshots(&name("db")).unwrap().len(), 2, "and nothing was done");
    drop(export);
    let early = member.cluster.rewind(&name("db"), 1).unwrap_err();
    assert!(early.to_string().contains("db"), "{early}");
    let copied = member.cluster.clone_from_time(&name("db"), time_ms, &name("copy")).unwrap();
    assert_eq!((copied.to.to_string(), copied.before), ("db@a".into(), None));
    assert_eq!(read(&member.open_volume("copy"), 0, 4096), [1; 4096]);
    let rewound = member.cluster.rewind(&name("db"), time_ms).unwrap();
    assert_eq!(rewound.to.to_string(), "db@a");
    assert_eq!(read(&member.open_volume("db"), 0, 4096), [1; 4096]);
    let before = rewound.before.unwrap().name.to_string();
    assert_eq!(read(&member.open_volume(&before), 0, 4096), [3; 4096]);
    member.stop();
}
