//! Streams that go on from a snapshot of a replicated volume.

use super::*;

/// A volume `vm` of one node alone, with one more snapshot for each day, and the streams of these: the first is full.
struct Days<'a> {
    silt: &'a Silt,
    last: Option<String>,
}

impl<'a> Days<'a> {
    fn new(silt: &'a Silt) -> Self {
        silt.run(&["create", "vm", "--size", "1M"]).expect(0);
        Self { silt, last: None }
    }

    fn next(&mut self, day: &str) -> Vec<u8> {
        fill(self.silt, "vm", day.len() * 7, day.as_bytes()[0]);
        fill(self.silt, "vm", day.as_bytes()[0] as usize, day.as_bytes()[1]);
        let name = format!("vm@{day}");
        self.silt.run(&["snap", "create", &name]).expect(0);
        let from = self.last.iter().flat_map(|last| ["--from", last]);
        let stream = self.silt.run(&["send"].into_iter().chain(from).chain([&*name]).collect::<Vec<_>>());
        self.last = Some(name.clone());
        stream.expect(0).stdout
    }

    fn content(&self, day: &str) -> Vec<u8> {
        self.silt.run(&["export", &format!("vm@{day}"), "-"]).expect(0).stdout
    }

    /// That every node serves what this day's stream brought, and nothing newer.
    fn check(&self, silts: &[Silt], day: &str, snapshots: &[&str]) {
        let content = self.content(day);
        for silt in silts {
            for name in ["back".to_owned(), format!("back@{day}")] {
                assert!(silt.run(&["export", &name, "-"]).expect(0).stdout == content, "{name}");
            }
            let expected: Vec<_> = snapshots.iter().map(|day| format!("back@{day}")).collect();
            assert_eq!(names(&silt.json(&["snap", "ls", "back"])["snapshots"]), expected);
        }
    }
}

/// The numbers of the nodes that hold a volume, the primary first.
fn holders(silt: &Silt, volume: &str) -> Vec<usize> {
    let info = silt.json(&["info", volume]);
    let mut replicas = info["replication"]["replicas"].as_array().unwrap().clone();
    replicas.sort_by_key(|replica| replica["role"] != "primary");
    let number = |replica: &Value| replica["node_name"].as_str().unwrap()[1..].parse().unwrap();
    replicas.iter().map(number).collect()
}

#[test]
fn a_replicated_volume_follows_another_day_by_day() {
    let scratch = Scratch::new("replicated-days");
    let three = Three::new(&scratch);
    let silts = &three.silts;
    let mut days = Days::new(&silts[0]);
    let mon = days.next("mon");
    silts[1].run_with_input(&["recv", "back", "--replicas", "2"], &mon).expect(0);
    let held = holders(&silts[0], "back");
    let (one, two) = (&silts[held[0] - 1], &silts[held[1] - 1]);
    let apart = silts.iter().enumerate().find(|(place, _)| !held.contains(&(place + 1))).unwrap().1;

    let tue = days.next("tue");
    let elsewhere = apart.run_with_input(&["recv", "back"], &tue).expect(1);
    assert!(elsewhere.stderr.contains("this node does not hold back@mon"), "{}", elsewhere.stderr);
    let received = one.run_with_input(&["recv", "back", "--json"], &tue).expect(0).json();
    assert_eq!((&received["name"], &received["from"]), (&json!("back@tue"), &json!("back@mon")));
    days.check(silts, "tue", &["mon", "tue"]);
    wait_until("both prove it", || {
        [one, two]
            .iter()
            .all(|it| it.run(&["verify", "back@tue", "--root", received["root"].as_str().unwrap()]).code == 0)
    });

    let wed = days.next("wed");
    let full = silts[0].run(&["send", "vm@wed"]).expect(0).stdout;
    let taken = two.run_with_input(&["recv", "back"], &full).expect(1);
    assert!(taken.stderr.contains("back exists already"), "{}", taken.stderr);
    let fresh = two.run_with_input(&["recv", "back", "--replicas", "2"], &wed).expect(1);
    assert!(fresh.stderr.contains("without --replicas"), "{}", fresh.stderr);
    let thu = days.next("thu");
    let missing = two.run_with_input(&["recv", "back"], &thu).expect(10);
    assert!(missing.stderr.contains("receive that snapshot first, or a full stream"), "{}", missing.stderr);
    let client = connect(two, "back");
    let in_use = two.run_with_input(&["recv", "back"], &wed).expect(11);
    assert!(in_use.stderr.contains("disconnect"), "{}", in_use.stderr);
    client.disconnect();
    drop(client);
    fill(apart, "back", 200, 9);
    let changed = two.run_with_input(&["recv", "back"], &wed).expect(2);
    assert!(changed.stderr.contains("was changed since back@tue") && changed.stderr.contains("--force"));
    let before = one.run(&["export", "back", "-"]).expect(0).stdout;
    for damaged in [&wed[..wed.len() - 1], &[&wed[..wed.len() / 2], b"?", &wed[wed.len() / 2 + 1..]].concat()] {
        two.run_with_input(&["recv", "back", "--force"], damaged).expect(3);
    }
    assert!(apart.run(&["export", "back", "-"]).expect(0).stdout == before);
    assert_eq!(before[200 * BLOCK_BYTES], 9);
    two.run_with_input(&["recv", "back", "--force"], &wed).expect(0);
    days.check(silts, "wed", &["mon", "tue", "wed"]);

    one.run(&["snap", "rm", "back@wed"]).expect(0);
    one.run(&["snap", "rename", "back@tue", "wed"]).expect(0);
    let other = two.run_with_input(&["recv", "back", "--force"], &thu).expect(2);
    assert!(other.stderr.contains("receive a full stream"), "{}", other.stderr);
    assert!(
        silts.iter().all(|silt| names(&silt.json(&["ls"])["volumes"]).iter().all(|name| !name.contains("receive")))
    );
    three.stop();
}
