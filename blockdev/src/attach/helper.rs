//! The background process behind a device.
//!
//! It starts in two stages, so that it is nobody's child and a long-lived caller collects no zombies: the first opens a session
//! of its own, starts the second and ends; the second makes the device, reports on its standard output and serves.
//! Memory it waits for may be memory that only a write to its own device can free; hence the measures in
//! [`keep_out_of_reclaim`].

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lsm_store::clock::{Clock, SystemClock};
use rustix::mm::{MlockAllFlags, mlockall};
use serde::{Deserialize, Serialize};

use super::device::create_loop;
use super::error::{AttachError, Failure, Result};
use super::fuse::VolumeFile;
use super::kernel::{Backend, Driver, device_node};
use super::place::{Place, State};
use super::remote::ReconnectingDisk;
use super::remote::nbd::{Address, NbdConnector};
use super::{Method, process};

/// Connections of a kernel device to a daemon that allows several: as many hardware queues.
const KERNEL_CONNECTION_COUNT: usize = 4;

/// What the helper is to do; its only argument, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HelperConfig {
    pub(super) stage: Stage,
    /// The command line to which this is the argument.
    pub(super) command: Vec<String>,
    pub(super) data_dir: PathBuf,
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) read_only: bool,
    pub(super) timeout: Duration,
}

/// How far the helper has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Leave the caller's session.
    Leave,
    /// Make the device and serve it.
    Serve,
}

/// What the helper says, once, in one line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The device works.
    Ready,
    /// It does not, and nothing is left of it but the directory.
    Failed { failure: Failure, message: String },
}

impl HelperConfig {
    /// Starts a helper for this.
    pub(super) fn start(&self, stdout: Stdio, stderr: Stdio) -> io::Result<Child> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let config = serde_json::to_string(self)?;
        Command::new(program)
            .args(arguments)
            .arg(config)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
    }

    fn state(&self, device: PathBuf) -> State {
        let Self { method, read_only, .. } = *self;
        State { device, method, pid: std::process::id(), read_only, lost: false }
    }

    fn address(&self) -> Address {
        Address { socket: self.data_dir.join("nbd.sock"), export: self.name.clone() }
    }

    fn connection_failed(&self, source: io::Error) -> AttachError {
        match source.kind() {
            io::ErrorKind::NotFound => AttachError::NoSuchVolume(self.name.clone()),
            _ => AttachError::NoDaemon { socket: self.address().socket, source },
        }
    }
}

/// What the hidden subcommand named in [`AttachOptions::helper`](super::AttachOptions::helper) has to call with its
/// arguments. Returns when the device is gone. Logs through `tracing`; standard output is taken.
///
/// # Errors
/// As [`attach`](super::attach()); they have been reported to the process that called it.
pub fn run_helper(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    let argument = arguments.into_iter().next().unwrap_or_default();
    let config: HelperConfig = serde_json::from_slice(argument.as_encoded_bytes())
        .map_err(|error| AttachError::io("reading", "the helper's argument", error))?;
    let result = match config.stage {
        Stage::Leave => leave(config),
        Stage::Serve => serve(&config),
    };
    result.inspect_err(|error| {
        let message = describe(error);
        tracing::error!("{message}");
        report(&Report::Failed { failure: error.kind().into(), message });
    })
}

fn leave(config: HelperConfig) -> Result<()> {
    // Fails only for the leader of a process group, which has nothing to leave.
    let _session = rustix::process::setsid();
    HelperConfig { stage: Stage::Serve, ..config }
        .start(Stdio::inherit(), Stdio::inherit())
        .map(drop)
        .map_err(|error| AttachError::io("starting", "the attach helper", error))
}

fn serve(config: &HelperConfig) -> Result<()> {
    let place = Place::new(&config.data_dir, &config.name)?;
    let _lock = place.hold()?;
    keep_out_of_reclaim();
    match config.method {
        Method::Kernel => serve_kernel(config, &place),
        Method::Fuse | Method::Auto => serve_fuse(config, &place),
    }
}

fn serve_fuse(config: &HelperConfig, place: &Place) -> Result<()> {
    if !Path::new("/dev/fuse").exists() {
        return Err(AttachError::NoDriver("FUSE in the kernel (/dev/fuse)"));
    }
    let (connector, disk) = NbdConnector::start(config.address()).map_err(|error| config.connection_failed(error))?;
    let info = connector.info;
    let read_only = config.read_only || info.is_read_only();
    let on_give_up = {
        let place = place.clone();
        Box::new(move || mark_lost(&place))
    };
    let disk = ReconnectingDisk::new(connector, disk, Arc::new(SystemClock::new()), config.timeout, on_give_up);
    let session = VolumeFile::new(disk, info.size_bytes, read_only)
        .mount(&place.mount_point())
        .map_err(|error| AttachError::io("mounting", place.mount_point(), error))?;
    let made = create_loop(&place.volume(), read_only)
        .and_then(|device| place.write_state(&State { read_only, ..config.state(device) }));
    if let Err(error) = made {
        process::unmount(&place.mount_point())?;
        return Err(error);
    }
    report(&Report::Ready);
    session.join().map_err(|error| AttachError::io("serving", place.mount_point(), error))
}

fn mark_lost(place: &Place) {
    let marked = place.read_state().and_then(|state| match state {
        Some(state) => place.write_state(&State { lost: true, ..state }),
        None => Ok(()),
    });
    if let Err(error) = marked {
        tracing::error!(%error, "cannot note that the daemon is lost");
    }
}

fn serve_kernel(config: &HelperConfig, place: &Place) -> Result<()> {
    let mut driver = Driver::open()?;
    // First, or a connection could die unheard.
    driver.listen()?;
    let address = config.address();
    let (sockets, info) =
        address.open_many(KERNEL_CONNECTION_COUNT).map_err(|error| config.connection_failed(error))?;
    let read_only = config.read_only || info.is_read_only();
    let index = driver.connect(&Backend {
        identifier: &place.backend(),
        sockets: &sockets.iter().map(AsFd::as_fd).collect::<Vec<_>>(),
        size_bytes: info.size_bytes,
        server_flags: if read_only { info.with_read_only() } else { info.flags },
        dead_timeout: config.timeout,
    })?;
    // The driver has references of its own; ours would keep dead connections open.
    drop(sockets);
    if let Err(error) = place.write_state(&State { read_only, ..config.state(device_node(index)) }) {
        driver.disconnect(index)?;
        return Err(error);
    }
    report(&Report::Ready);
    supervise(config, place, &mut driver, index, NbdConnector { address, info })
}

/// Gives the device new connections whenever some have died, until the daemon has been away for the timeout or the device is
/// gone.
fn supervise(
    config: &HelperConfig,
    place: &Place,
    driver: &mut Driver,
    index: u32,
    connector: NbdConnector,
) -> Result<()> {
    let clock = SystemClock::new();
    loop {
        let dead = driver.next_dead_link()?;
        if !driver.is_connected(index)? {
            return Ok(());
        }
        if dead != index {
            continue;
        }
        let lost_at = clock.monotonic();
        loop {
            match connector.reopen(KERNEL_CONNECTION_COUNT) {
                Ok(sockets) => {
                    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                    driver.reconfigure(index, &place.backend(), &sockets)?;
                    tracing::info!("connected to the daemon again");
                    break;
                }
                Err(error) if clock.monotonic() - lost_at < config.timeout => {
                    tracing::debug!(%error, "the daemon does not answer yet");
                    clock.sleep(super::remote::RETRY_INTERVAL);
                }
                Err(error) => {
                    mark_lost(place);
                    return Err(AttachError::NoDaemon { socket: connector.address.socket, source: error });
                }
            }
        }
    }
}

/// Keeps memory reclaim from waiting for this process while this process waits for reclaim: no swap, no writeback from its own
/// allocations, no killing when memory is short. Without the privileges for it, goes on without.
fn keep_out_of_reclaim() {
    let locked = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    let flusher = rustix::process::configure_io_flusher_behavior(true);
    let spared = std::fs::write("/proc/self/oom_score_adj", "-1000");
    for (what, result) in [
        ("mlockall", locked.map_err(io::Error::from)),
        ("io flusher", flusher.map_err(io::Error::from)),
        ("oom", spared),
    ] {
        if let Err(error) = result {
            tracing::warn!(%error, what, "the device may stall when memory is short");
        }
    }
}

/// Tells the process that waits for it. If that is gone, nobody minds.
fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut stdout = io::stdout().lock();
        let _written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

/// An error with its sources, in one line.
fn describe(error: &AttachError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
