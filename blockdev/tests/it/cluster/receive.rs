//! Snapshots that come into a volume one after the other, as streams.

use std::ops::ControlFlow;
use std::thread;

use blockdev::cluster::{ClusterError, ClusterReceiver};
use blockdev::transfer::{self, Outlet};

use super::*;

#[derive(Default)]
struct Collected(Vec<u8>);

impl Outlet for Collected {
    fn write(&mut self, bytes: &[u8]) -> transfer::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _: &str, _: u64, _: u64) -> transfer::Result<()> {
        Ok(())
    }
}

fn go_on(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A volume `db` with one more snapshot each day, and what it held then.
struct Days {
    contents: Vec<Vec<u8>>,
}

impl Days {
    /// Changes much of the volume, makes a snapshot, and sends it.
    fn next(&mut self, member: &Member) -> Vec<u8> {
        let day = self.contents.len();
        let export = member.open_volume("db");
        let mut content = self.contents.last().cloned().unwrap_or_else(|| vec![0; SIZE as usize]);
        let fresh = noise(SIZE as usize);
        for block in (day % 3..content.len() / 4096).step_by(3) {
            let range = block * 4096..(block + 1) * 4096;
            let bytes = fresh[range.clone()].iter().map(|byte| byte.wrapping_add(day as u8));
            content[range].iter_mut().zip(bytes).for_each(|(old, new)| *old = new);
        }
        content[day << 20..(day << 20) + 100_000].fill(0);
        export.write(&[Write { offset: 0, data: &content }]).unwrap();
        drop(export);
        self.contents.push(content);
        let (name, base) =
            (snapshot(&format!("db@{day}")), day.checked_sub(1).map(|day| snapshot(&format!("db@{day}"))));
        member.cluster.snapshot(&name).unwrap();
        let mut stream = Collected::default();
        member.cluster.source(&name, base.as_ref()).unwrap().send(&mut stream).unwrap();
        stream.0
    }

    /// That a member serves what was received, all of it, and holds what it proves to be that.
    #[track_caller]
    fn check(&self, member: &Member) {
        for (day, content) in self.contents.iter().enumerate() {
            let copy = format!("copy@{day}");
            assert!(read(&member.open_volume(&copy), 0, content.len()) == *content, "{copy}");
            let root = |name: &str| {
                let source = once_held(|| member.cluster.source(&snapshot(name), None));
                source.root(&mut go_on).unwrap().root
            };
            assert_eq!(root(&copy), root(&format!("db@{day}")));
        }
        assert!(read(&member.open_volume("copy"), 0, SIZE as usize) == *self.contents.last().unwrap());
        let named = member.cluster.snapshots(&name("copy")).unwrap();
        assert_eq!(named.len(), self.contents.len());
    }
}

fn receiver(member: &Member, stream: &[u8]) -> ClusterReceiver {
    once_held(|| {
        let mut receiver = ClusterReceiver::into_volume(Arc::clone(&member.cluster), name("copy"), false);
        receiver.push(stream, &mut go_on).map(|()| receiver)
    })
}

/// What can be done once the member holds all of a volume: one that is back may not for a while, nor know that, and has to put back
/// first what it left.
fn once_held<T>(attempt: impl Fn() -> Result<T, ClusterError>) -> T {
    let clock = SystemClock::new();
    loop {
        match attempt() {
            Err(ClusterError::NotHere { .. } | ClusterError::TakenIn { .. })
                if clock.monotonic() < Duration::from_secs(60) =>
            {
                clock.sleep(Duration::from_millis(20));
            }
            done => return done.unwrap(),
        }
    }
}

/// Three members that hold `db` and, since its first day, `copy`.
fn three_with_a_copy(scratch: &Scratch) -> (Vec<Member>, Days) {
    let (members, mut days) = (cluster_of(scratch, 3), Days { contents: Vec::new() });
    members[0].create("db", 3);
    members[0].wait_healthy("db");
    let stream = days.next(&members[0]);
    let mut receiver = ClusterReceiver::new(Arc::clone(&members[0].cluster), name("copy"), Codec::Lz4, 3);
    receiver.push(&stream, &mut go_on).unwrap();
    receiver.finish(&mut go_on).unwrap();
    members[0].wait_healthy("copy");
    (members, days)
}

#[test]
fn a_volume_follows_another_day_by_day_whoever_is_lost() {
    let scratch = Scratch::new("days");
    let (mut members, mut days) = three_with_a_copy(&scratch);
    for number in [0, 1] {
        let stream = days.next(&members[0]);
        receiver(&members[number], &stream).finish(&mut go_on).unwrap();
        members.iter().for_each(|member| days.check(member));
    }

    // A member that is not the primary is lost while the stream comes.
    let stream = days.next(&members[0]);
    let (head, tail) = stream.split_at(stream.len() / 2);
    let mut coming = receiver(&members[0], head);
    let lost = (1..3).find(|place| members[*place].primary("copy") != *place as u64 + 1).unwrap();
    let stopped = members.remove(lost).stop();
    coming.push(tail, &mut go_on).unwrap();
    coming.finish(&mut go_on).unwrap();
    days.check(&members[1]);
    members.insert(lost, Member::open(stopped));
    members.iter().for_each(|member| member.wait_healthy("copy"));
    days.check(&members[lost]);

    // The primary is lost while what has come goes into the volume.
    let stream = days.next(&members[0]);
    let primary = members[0].primary("copy") as usize - 1;
    let by = (primary + 1) % 3;
    let coming = receiver(&members[by], &stream);
    let stopped = thread::scope(|scope| {
        let finishing = scope.spawn(move || coming.finish(&mut go_on));
        SystemClock::new().sleep(Duration::from_millis(60));
        let stopped = members.remove(primary).stop();
        finishing.join().unwrap().unwrap();
        stopped
    });
    members.insert(primary, Member::open(stopped));
    members.iter().for_each(|member| member.wait_healthy("copy"));
    members.iter().for_each(|member| days.check(member));
    members.into_iter().for_each(|member| drop(member.stop()));
}

#[test]
fn the_node_that_receives_may_end_at_any_time() {
    let scratch = Scratch::new("receiver-ends");
    let (mut members, mut days) = three_with_a_copy(&scratch);
    let before = days.contents[0].clone();
    let stream = days.next(&members[0]);
    for wait_ms in [20, 60, 120, 250] {
        let coming = receiver(&members[2], &stream);
        let ending = members.pop().unwrap();
        let (stopped, received) = thread::scope(|scope| {
            let finishing = scope.spawn(move || coming.finish(&mut go_on));
            SystemClock::new().sleep(Duration::from_millis(wait_ms));
            let stopped = ending.stop();
            (stopped, finishing.join().unwrap())
        });
        // Whoever freezes the volume now gets what it held before, or all that came.
        let frozen = snapshot(&format!("copy@frozen-{wait_ms}"));
        members[0].cluster.snapshot(&frozen).unwrap();
        let content = read(&members[1].open_volume(&frozen.to_string()), 0, SIZE as usize);
        members[0].cluster.remove_snapshot(&frozen).unwrap();
        members.push(Member::open(stopped));
        members[2].wait_healthy("copy");
        let is_there = members[0].cluster.snapshots(&name("copy")).unwrap().len() == 2;
        assert!(is_there || received.is_err());
        assert!(content == if is_there { days.contents[1].clone() } else { before.clone() }, "after {wait_ms} ms");
        if is_there {
            break;
        }
        wait_until("the volume can be opened", || members[0].exports.open("copy", &Principal::Local).is_ok());
        assert!(read(&members[0].open_volume("copy"), 0, SIZE as usize) == before);
    }
    if members[0].cluster.snapshots(&name("copy")).unwrap().len() == 1 {
        receiver(&members[2], &stream).finish(&mut go_on).unwrap();
    }
    members.iter().for_each(|member| days.check(member));
    members.into_iter().for_each(|member| drop(member.stop()));
}
