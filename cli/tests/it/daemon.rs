//! A daemon, and how it starts and stops.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::scratch::Scratch;
use crate::silt::{Outcome, Silt, outcome};

/// A running `silt serve`; killed when dropped.
pub(crate) struct Daemon {
    child: Option<Child>,
    ready: Value,
}

impl Daemon {
    /// Starts a daemon without TCP and waits until it is ready.
    pub(crate) fn start(silt: &Silt, arguments: &[&str]) -> Self {
        Self::start_with_tcp(silt, &[&["--no-tcp"], arguments].concat())
    }

    /// Starts a daemon with what is said of TCP and waits until it is ready.
    pub(crate) fn start_with_tcp(silt: &Silt, arguments: &[&str]) -> Self {
        Self::start_command(silt.command(&[&["serve", "--json", "--memory", "256M"], arguments].concat()))
    }

    fn start_command(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        match serde_json::from_str(&line) {
            Ok(ready) => Self { child: Some(child), ready },
            Err(_) => panic!("the daemon did not start: {:?}", outcome(child)),
        }
    }

    pub(crate) fn ready(&self) -> &Value {
        &self.ready
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Stops it with SIGTERM and returns how it ended.
    pub(crate) fn stop(mut self) -> Outcome {
        self.signal(Signal::TERM);
        outcome(self.child.take().unwrap())
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        outcome(self.child.take().unwrap());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn it_announces_its_volumes_and_stops_cleanly() {
    let scratch = Scratch::new("announce");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start_with_tcp(
        &silt,
        &["--listen", "127.0.0.1:0", "--create", "a=1G", "--create", "b=1M,codec=zstd:3"],
    );
    let ready = daemon.ready();
    assert_eq!(ready["volumes"][0]["name"], "a");
    assert_eq!(ready["volumes"][0]["size_bytes"], 1 << 30);
    let socket = silt.data().join("nbd.sock");
    assert_eq!(ready["volumes"][0]["uris"][0], format!("nbd+unix:///a?socket={}", socket.display()));
    assert!(ready["volumes"][1]["uris"][1].as_str().unwrap().starts_with("nbd://127.0.0.1:"));
    assert_eq!(silt.json(&["info", "b"])["codec"], "zstd:3");

    let mode = |name: &str| silt.data().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("nbd.sock"), mode("control.sock")), (0o750, 0o660, 0o600));

    let status = silt.json(&["status"]);
    assert_eq!((&status["running"], &status["pid"]), (&Value::Bool(true), &ready["pid"]));
    daemon.stop().expect(0);
    assert!(!socket.exists(), "the sockets are gone after a clean stop");
    let status = silt.json(&["status"]);
    assert_eq!((&status["running"], &status["volumes"]), (&Value::Bool(false), &Value::from(2)));
}

#[test]
fn sigint_stops_it_too() {
    let scratch = Scratch::new("sigint");
    let mut daemon = Daemon::start(&Silt::new(&scratch.join("data")), &[]);
    daemon.signal(Signal::INT);
    outcome(daemon.child.take().unwrap()).expect(0);
}

#[test]
fn existing_volumes_of_the_same_size_are_fine_and_others_are_not() {
    let scratch = Scratch::new("existing");
    let silt = Silt::new(&scratch.join("data"));
    Daemon::start(&silt, &["--create", "demo=1G"]).stop().expect(0);
    Daemon::start(&silt, &["--create", "demo=1G"]).stop().expect(0);
    let refused = silt.run(&["serve", "--no-tcp", "--create", "demo=2G"]).expect(1);
    assert!(refused.stderr.contains("exists with 1 GiB"), "{}", refused.stderr);
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let scratch = Scratch::new("killed");
    let silt = Silt::new(&scratch.join("data"));
    Daemon::start(&silt, &["--create", "demo=1G"]).kill();
    assert!(silt.data().join("control.sock").exists());
    assert_eq!(silt.json(&["status"])["running"], false);
    let daemon = Daemon::start(&silt, &[]);
    assert_eq!(silt.json(&["status"])["running"], true);
    daemon.stop().expect(0);
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let scratch = Scratch::new("second");
    let silt = Silt::new(&scratch.join("data"));
    let daemon = Daemon::start(&silt, &[]);
    let refused = silt.run(&["serve", "--no-tcp"]).expect(11);
    let pid = daemon.ready()["pid"].to_string();
    assert!(refused.stderr.contains(&format!("process {pid} serves")), "{}", refused.stderr);
    assert_eq!(silt.json(&["status"])["running"], true);
}

#[test]
fn a_taken_port_leaves_the_unix_socket() {
    let scratch = Scratch::new("taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let daemon = Daemon::start_with_tcp(&Silt::new(&scratch.join("data")), &["--listen", &address]);
    let warning = daemon.ready()["warnings"][0].as_str().unwrap();
    assert!(warning.contains(&address) && warning.contains("--listen"), "{warning}");
    assert_eq!(daemon.ready()["endpoints"].as_array().unwrap().len(), 1);
}

#[test]
fn other_machines_are_let_in_only_by_a_flag() {
    let scratch = Scratch::new("insecure");
    let silt = Silt::new(&scratch.join("data"));
    let refused = silt.run(&["serve", "--listen", "0.0.0.0:0"]).expect(2);
    assert!(refused.stderr.contains("--insecure-listen"), "{}", refused.stderr);
    assert!(!silt.data().exists(), "a refused command line leaves no store");
}

#[test]
fn a_long_path_works_for_commands_and_warns_of_clients() {
    let scratch = Scratch::new("long");
    let silt = Silt::new(&scratch.join(&"d".repeat(120)));
    let daemon = Daemon::start(&silt, &["--create", "demo=1G"]);
    assert!(daemon.ready()["warnings"][0].as_str().unwrap().contains("107 bytes"));
    assert_eq!(silt.json(&["status"])["running"], true);
    daemon.stop().expect(0);
}

#[test]
fn the_limit_of_open_files_is_raised_and_a_low_one_is_told() {
    let scratch = Scratch::new("open-files");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 300; ulimit -Hn 1024; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_silt"));
    command.args(["serve", "--json", "--no-tcp", "--memory", "256M"]).env("SILT_DATA", scratch.join("data"));
    let daemon = Daemon::start_command(command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.ready()["pid"])).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().collect::<Vec<_>>(), ["Max", "open", "files", "1024", "1024", "files"]);
    let warnings = daemon.ready()["warnings"].to_string();
    assert!(warnings.contains("at most 12 clients are served at a time"), "{warnings}");
    daemon.stop().expect(0);
}

#[test]
fn a_signal_that_comes_during_the_start_stops_it_cleanly() {
    let scratch = Scratch::new("early-signal");
    let silt = Silt::new(&scratch.join("data"));
    let mut command = silt.command(&["serve", "--no-tcp", "--memory", "256M"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !silt.data().exists() {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    outcome(child).expect(0);
}
