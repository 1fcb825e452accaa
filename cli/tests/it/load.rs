//! A daemon under the load of many clients: its memory, and its end.

use std::fs;
use std::sync::mpsc;
use std::thread;

use siltstone::frontend::nbd::client::{Client, ClientOptions};

use crate::daemon::Daemon;
use crate::scratch::Scratch;
use crate::silt::Silt;

const MIB: u64 = 1 << 20;
const BLOCK_BYTES: usize = 4096;

/// Bytes that neither compress nor repeat, the same for the same seed.
pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&next_random(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Xorshift.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn connect(silt: &Silt) -> Client {
    let uri = silt.json(&["uri", "demo"])["uris"][0].as_str().unwrap().parse().unwrap();
    Client::connect(&uri, ClientOptions::default()).unwrap()
}

/// The most memory that a process ever had resident.
fn resident_bytes_max(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Writes unique blocks all over the volume, in requests of 4 to 128 KiB, then reads all over it.
fn write_and_read(client: &Client, seed: u64, bytes: u64) {
    let mut state = seed;
    let mut left = bytes;
    while left > 0 {
        let len = BLOCK_BYTES << (next_random(&mut state) % 6);
        let offset = next_random(&mut state) % (client.size_bytes() - len as u64);
        let data = random_bytes(next_random(&mut state), len);
        client.write(offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64, &data, false).unwrap();
        left = left.saturating_sub(len as u64);
    }
    client.flush().unwrap();
    for _ in 0..bytes / MIB * 32 {
        let len = BLOCK_BYTES << (next_random(&mut state) % 4);
        client.read(next_random(&mut state) % (client.size_bytes() - len as u64), len).unwrap();
    }
}

#[test]
fn memory_stays_within_its_budget() {
    let scratch = Scratch::new("load-memory");
    let silt = Silt::new(&scratch.join("data"));
    // The helper starts daemons with --memory 256M.
    let daemon = Daemon::start(&silt, &["--create", "demo=1G"]);
    thread::scope(|scope| {
        for seed in 1..=8 {
            let client = connect(&silt);
            scope.spawn(move || write_and_read(&client, seed, 64 * MIB));
        }
    });
    let resident = resident_bytes_max(daemon.ready()["pid"].as_u64().unwrap());
    assert!(resident < 256 * MIB, "{} MiB", resident / MIB);
    assert!(resident > 64 * MIB, "the load was none: {} MiB", resident / MIB);
    daemon.stop().expect(0);
}

#[test]
fn a_daemon_told_to_stop_under_load_keeps_every_answered_write() {
    let scratch = Scratch::new("load-stop");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &["--create", "demo=1G"]);
    let (reached, at_work) = mpsc::channel();
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let (client, reached) = (connect(&silt), reached.clone());
            thread::spawn(move || {
                let mut answered = 0;
                // Until the server hangs up, or the writer has come to the end of its part, which takes long.
                while answered < 60_000 {
                    let block = random_bytes(writer << 32 | answered, BLOCK_BYTES);
                    let offset = writer * 256 * MIB + answered * BLOCK_BYTES as u64;
                    if client.write(offset, &block, false).is_err() {
                        break;
                    }
                    answered += 1;
                    if answered == 500 {
                        reached.send(()).unwrap();
                    }
                }
                answered
            })
        })
        .collect();
    (0..4).for_each(|_| at_work.recv().unwrap());
    daemon.stop().expect(0);
    let answered: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();

    let daemon = Daemon::start(&silt, &[]);
    let client = connect(&silt);
    for (writer, answered) in (0u64..).zip(answered) {
        for number in 0..answered {
            let offset = writer * 256 * MIB + number * BLOCK_BYTES as u64;
            let found = client.read(offset, BLOCK_BYTES).unwrap();
            assert!(found == random_bytes(writer << 32 | number, BLOCK_BYTES), "write {number} of writer {writer}");
        }
    }
    daemon.stop().expect(0);
}
