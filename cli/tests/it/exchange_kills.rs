//! Exchanges between real processes, of which one is killed with -9 after any number of bytes, again and again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;

use serde_json::json;

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;
use crate::transfer::noise;

/// Bytes of the volume.
const VOLUME_BYTES: usize = 2 << 20;

/// The same where what came before a kill is gone on with.
const KEPT_VOLUME_BYTES: usize = 8 << 20;

/// After so many bytes of the sender each attempt is killed then.
const KEPT_KILL_AT: usize = 3 << 20;

/// Attempts that are killed; SILT_KILLS says more.
const KILLS: u32 = 9;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Nobody,
    Sender,
    Receiver,
    Daemon,
}

struct Pair {
    scratch: Scratch,
    from: Silt,
    to: Silt,
}

impl Pair {
    /// A store with a snapshot of noise, and an empty one.
    fn new(test: &str, volume_bytes: usize) -> Self {
        let scratch = Scratch::new(test);
        let (from, to) = (Silt::new(&scratch.join("from")), Silt::new(&scratch.join("to")));
        from.run_with_input(&["import", "-", "vm"], &noise(1, volume_bytes)).expect(0);
        from.run(&["snap", "create", "vm@s"]).expect(0);
        Self { scratch, from, to }
    }

    /// Begins an exchange whose bytes go through two named pipes.
    fn sender(&self) -> Child {
        for pipe in ["up", "down"].map(|name| self.scratch.join(name)) {
            // There is none before the first attempt.
            let _ = fs::remove_file(&pipe);
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        }
        let via = format!("cat '{0}/down' & exec cat > '{0}/up'", self.scratch.path().display());
        let mut command = self.from.command(&["send", "--json", "vm@s", "--via", &via]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn receiver(&self) -> Child {
        let mut command = self.to.command(&["recv", "--serve", "copy"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Holds an exchange and kills the victim when the sender has said so many bytes; what the sender prints if it succeeds.
    fn attempt(&self, victim: Victim, at: usize, daemon: Option<Daemon>) -> Option<serde_json::Value> {
        let mut sender = self.sender();
        let up = File::open(self.scratch.join("up")).unwrap();
        let mut down = File::options().write(true).open(self.scratch.join("down")).unwrap();
        let mut receiver = self.receiver();
        let (mut to, mut from) = (receiver.stdin.take().unwrap(), receiver.stdout.take().unwrap());
        let daemon = Mutex::new(daemon);
        thread::scope(|scope| {
            // Whoever is gone listens to nothing more.
            let back = scope.spawn(move || drop(io::copy(&mut from, &mut down)));
            pass(up, &mut to, at, || match victim {
                Victim::Nobody => {}
                Victim::Sender => sender.kill().unwrap(),
                Victim::Receiver => receiver.kill().unwrap(),
                Victim::Daemon => daemon.lock().unwrap().take().into_iter().for_each(Daemon::kill),
            });
            drop(to);
            back.join().unwrap();
        });
        receiver.wait().unwrap();
        let mut said = Vec::new();
        sender.stdout.take().unwrap().read_to_end(&mut said).unwrap();
        let is_success = sender.wait().unwrap().success();
        is_success.then(|| serde_json::from_slice(&said).unwrap())
    }

    /// Nothing, or all of it.
    fn assert_whole_or_nothing(&self) {
        let snapshots = self.to.json(&["snap", "ls"])["snapshots"].as_array().unwrap().len();
        assert_eq!(self.to.json(&["ls"])["volumes"].as_array().unwrap().len(), snapshots);
        if snapshots > 0 {
            assert_eq!(self.to.json(&["verify", "copy@s"])["root"], self.from.json(&["verify", "vm@s"])["root"]);
            self.to.run(&["rm", "copy", "--snapshots", "--now"]).expect(0);
        }
    }
}

/// Passes bytes on until one end is gone, and calls `then` when so many have come. Listens to nothing more when it returns.
fn pass(mut from: impl Read, to: &mut impl Write, at: usize, mut then: impl FnMut()) {
    let (mut passed, mut buf) = (0, vec![0; 4096]);
    while let Ok(len @ 1..) = from.read(&mut buf) {
        // The kill is not on a border of what was said.
        let before = at.saturating_sub(passed).min(len);
        if to.write_all(&buf[..before]).is_err() {
            return;
        }
        if (passed..=passed + len).contains(&at) {
            then();
        }
        passed += len;
        if to.write_all(&buf[before..len]).is_err() {
            return;
        }
    }
}

#[test]
fn whoever_is_killed_the_receiver_has_nothing_or_all() {
    let pair = Pair::new("exchange-kills", VOLUME_BYTES);
    let kills = std::env::var("SILT_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut random = noise(kills, 4 * kills as usize).into_iter();
    let mut next = || (0..3).fold(0, |number, _| number << 8 | random.next().map_or(0, usize::from));
    let mut killed = 0;
    for number in 0..kills {
        let victim = [Victim::Sender, Victim::Receiver, Victim::Daemon][number as usize % 3];
        // What is still stored of an earlier one makes it shorter: down to the fingerprints alone.
        let at = next() % (VOLUME_BYTES >> (number % 8));
        let daemon = (victim == Victim::Daemon).then(|| Daemon::start(&pair.to, &[]));
        let sent = pair.attempt(victim, at, daemon);
        assert!(sent.is_none() || at > VOLUME_BYTES / 4096 * 32, "{victim:?} was killed after {at} bytes");
        killed += u32::from(sent.is_none());
        pair.assert_whole_or_nothing();
    }
    assert!(killed >= kills / 2, "{killed} of {kills} attempts were broken off");
    pair.attempt(Victim::Nobody, usize::MAX, None).expect("nobody was killed");
    assert_eq!(pair.to.json(&["verify", "copy@s"])["root"], pair.from.json(&["verify", "vm@s"])["root"]);
    for silt in [&pair.from, &pair.to] {
        silt.run(&["check"]).expect(0);
    }
}

/// No attempt lasts for all of the volume.
fn assert_progress(victim: Victim) {
    let pair = Pair::new(&format!("exchange-progress-{victim:?}").to_lowercase(), KEPT_VOLUME_BYTES);
    let mut attempts = 0;
    let sent = loop {
        let daemon = (victim == Victim::Daemon).then(|| Daemon::start(&pair.to, &[]));
        if let Some(sent) = pair.attempt(victim, KEPT_KILL_AT, daemon) {
            break Some(sent);
        }
        attempts += 1;
        if pair.to.json(&["ls"])["volumes"] != json!([]) {
            // It had come to its end when somebody was killed, and nobody could say so any more.
            break None;
        }
        let receptions = pair.to.json(&["status"])["receptions"].clone();
        assert_eq!((&receptions[0]["name"], &receptions[1]), (&json!("copy"), &json!(null)));
        assert!(attempts <= 8, "{victim:?}: it makes no progress");
    };
    // Of each attempt 2 MiB came in whole records, but for what was on its way to a receiver that died.
    assert!(attempts >= 2, "{victim:?}: {attempts} attempts were broken off");
    if let Some(sent) = sent {
        assert!(sent["had_bytes"].as_u64().unwrap() >= attempts << 20, "{victim:?}: {sent} after {attempts} attempts");
    }
    assert_eq!(pair.to.json(&["verify", "copy@s"])["root"], pair.from.json(&["verify", "vm@s"])["root"]);
    assert_eq!(pair.to.json(&["status"])["receptions"], json!([]));
    pair.to.run(&["check"]).expect(0);
}

#[test]
fn what_came_before_a_kill_does_not_travel_again() {
    [Victim::Sender, Victim::Receiver, Victim::Daemon].into_iter().for_each(assert_progress);
}

#[test]
fn what_came_before_a_kill_can_be_forgotten() {
    let pair = Pair::new("exchange-forget", KEPT_VOLUME_BYTES);
    pair.to.run(&["recv", "copy", "--forget"]).expect(10);
    assert!(pair.attempt(Victim::Sender, KEPT_KILL_AT, None).is_none());
    let usage = pair.to.json(&["du"]);
    assert_eq!((&usage["volumes"], &usage["receptions"][0]["name"]), (&json!([]), &json!("copy")));
    let mapped_bytes = usage["receptions"][0]["mapped_bytes"].as_u64().unwrap();
    assert!((1 << 20..=4 << 20).contains(&mapped_bytes), "{usage}");
    assert_eq!(usage["node"]["mapped_bytes"].as_u64(), Some(mapped_bytes));
    pair.to.run(&["recv", "copy", "--forget"]).expect(0);
    assert_eq!(pair.to.json(&["status"])["receptions"], json!([]));
    assert_eq!(pair.to.json(&["du"])["node"]["mapped_bytes"], json!(0));
    pair.attempt(Victim::Nobody, usize::MAX, None).expect("nobody was killed");
}
