//! Snapshots that come into a volume one after the other, as streams.

use std::ops::ControlFlow;
use std::thread;

use blockdev::cluster::ClusterReceiver;
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
                let name = snapshot(name);
                wait_until("the member holds all of it", || member.cluster.source(&name, None).is_ok());
                member.cluster.source(&name, None).unwrap().root(&mut go_on).unwrap().root
            };
            assert_eq!(root(&copy), root(&format!("db@{day}")));
        }
        assert!(read(&member.open_volume("copy"), 0, SIZE as usize) == *self.contents.last().unwrap());
        let named = member.cluster.snapshots(&name("copy")).unwrap();
        assert_eq!(named.len(), self.contents.len());
    }
}

fn receiver(member: &Member, stream: &[u8]) -> ClusterReceiver {
    let mut receiver = ClusterReceiver::into_volume(Arc::clone(&member.cluster), name("copy"), false);
    receiver.push(stream, &mut go_on).unwrap();
    receiver
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
