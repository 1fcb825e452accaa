//! Real `/dev` nodes for volumes: by the kernel's NBD driver, or by a FUSE file and a loop device where it has none.
//!
//! A device outlives the command that made it and the daemon that serves it. A background process of its own, the
//! *helper* (the command again, with a hidden subcommand that calls [`run_helper`]), holds the connection and reconnects when
//! the daemon was restarted; I/O waits meanwhile. The helper's death breaks the device, which [`list`] shows and
//! [`detach`] clears.
//!
//! ```no_run
//! use std::path::Path;
//! use blockdev::attach::{self, AttachOptions};
//!
//! let data = Path::new("/var/lib/silt");
//! let attached = attach::attach(data, "demo", &AttachOptions::default())?;
//! println!("{}", attached.device.display());
//! attach::detach(data, "demo")?;
//! # Ok::<(), attach::AttachError>(())
//! ```

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use device::{Exclusive, loop_over, sysfs_attribute};
pub use error::{AttachError, Failure, Result};
pub use helper::run_helper;
use helper::{HelperConfig, Report, Stage};
use place::{OperationLock, Place, State};

mod device;
mod error;
mod fuse;
mod helper;
mod kernel;
mod place;
mod process;
mod remote;

/// How a device is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// [`Method::Kernel`] if the kernel has the driver, else [`Method::Fuse`].
    #[default]
    Auto,
    /// `/dev/nbdN`, by the kernel's NBD driver.
    Kernel,
    /// `/dev/loopN` over a FUSE file.
    Fuse,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Fuse => "fuse",
        })
    }
}

/// How to attach.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// Refuse writes.
    pub read_only: bool,
    /// How to make the device.
    pub method: Method,
    /// How long I/O waits for a daemon that went away, until it fails for good. At least a second.
    pub timeout: Duration,
    /// The command line, program first, that calls [`run_helper`] with the arguments appended to it. Default: the running
    /// program with `attach-helper`. Must be UTF-8.
    pub helper: Vec<String>,
}

impl Default for AttachOptions {
    fn default() -> Self {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("silt"));
        let helper = vec![program.to_string_lossy().into_owned(), "attach-helper".to_owned()];
        Self { read_only: false, method: Method::Auto, timeout: Duration::from_secs(120), helper }
    }
}

/// A volume with a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// The volume.
    pub name: String,
    /// Its device; empty if the helper died before it made one.
    pub device: PathBuf,
    /// How the device was made; never [`Method::Auto`].
    pub method: Method,
    /// The helper's process id.
    pub pid: u32,
    /// Writes are refused.
    pub read_only: bool,
    /// The helper died, gave up on the daemon, or lost its device: all I/O fails. Detach it.
    pub broken: bool,
}

/// Gives volume `name` of the daemon that serves `data_dir` a device, and returns once it can be used.
///
/// # Errors
/// `NotFound` without such a volume, `Exists` if it is attached, also if what it left behind is broken (detach it),
/// `Unsupported` without the driver or the privileges, `Io` if the daemon does not answer or the machine fails.
pub fn attach(data_dir: &Path, name: &str, options: &AttachOptions) -> Result<Attached> {
    check_privileges()?;
    let data_dir = data_dir.canonicalize().map_err(|error| AttachError::io("opening", data_dir, error))?;
    let place = Place::new(&data_dir, name)?;
    let _lock = OperationLock::take(&data_dir)?;
    if place.exists() {
        return Err(AttachError::AlreadyAttached { name: name.to_owned() });
    }
    let method = match options.method {
        Method::Auto if kernel::Driver::open().is_ok() => Method::Kernel,
        Method::Auto => Method::Fuse,
        chosen => chosen,
    };
    place.create()?;
    let config = HelperConfig {
        stage: Stage::Leave,
        command: options.helper.clone(),
        data_dir,
        name: name.to_owned(),
        method,
        read_only: options.read_only,
        timeout: options.timeout.max(Duration::from_secs(1)),
    };
    // Whatever the helper had made when it failed must not stay behind.
    start_helper(&config, &place).inspect_err(|_| clear_after_failure(&place))
}

/// Removes the device of a volume, named by the volume or by the device, after flushing it. Also clears what a dead
/// helper left behind.
///
/// # Errors
/// `NotFound` if nothing is attached there, `Busy` if the device is mounted or held. With [`AttachError::Unflushed`] the
/// device is gone all the same.
pub fn detach(data_dir: &Path, name_or_device: &str) -> Result<()> {
    check_privileges()?;
    let data_dir = data_dir.canonicalize().map_err(|error| AttachError::io("opening", data_dir, error))?;
    let _lock = OperationLock::take(&data_dir)?;
    let place = find(&data_dir, name_or_device)?;
    let flushed = match place.read_state()? {
        Some(state) => remove_device(&place, &state)?,
        None => remove_remains(&place)?,
    };
    process::end_helper(&place)?;
    place.remove()?;
    flushed
}

/// The attached volumes of this data directory, by name, broken ones too.
///
/// # Errors
/// `Unsupported` without the privileges to look, `Io` if the directory cannot be read.
pub fn list(data_dir: &Path) -> Result<Vec<Attached>> {
    let data_dir = data_dir.canonicalize().map_err(|error| AttachError::io("opening", data_dir, error))?;
    Place::all(&data_dir)?.into_iter().map(|place| describe(&place)).collect()
}

fn check_privileges() -> Result<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(AttachError::NotPermitted) }
}

fn start_helper(config: &HelperConfig, place: &Place) -> Result<Attached> {
    let log = std::fs::File::create(place.log()).map_err(|error| AttachError::io("creating", place.log(), error))?;
    let mut child = config
        .start(Stdio::piped(), Stdio::from(log))
        .map_err(|error| AttachError::io("starting", "the attach helper", error))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| AttachError::io("reading from", "the attach helper", error))?;
    }
    // Only the first stage is our child; it has ended or is about to.
    child.wait().map_err(|error| AttachError::io("waiting for", "the attach helper", error))?;
    match serde_json::from_str(&line) {
        Ok(Report::Ready) => describe(place),
        Ok(Report::Failed { failure, message }) => Err(AttachError::Helper { failure, message }),
        Err(_) => {
            let log = std::fs::read_to_string(place.log()).unwrap_or_default();
            Err(AttachError::Helper { failure: Failure::Io, message: format!("the helper died: {}", log.trim_end()) })
        }
    }
}

fn clear_after_failure(place: &Place) {
    let cleared = remove_remains(place).and_then(|_| process::end_helper(place)).and_then(|()| place.remove());
    if let Err(error) = cleared {
        tracing::warn!(%error, "a failed attach left something behind");
    }
}

fn find(data_dir: &Path, name_or_device: &str) -> Result<Place> {
    let not_attached = || AttachError::NotAttached(name_or_device.to_owned());
    if !name_or_device.starts_with('/') {
        return Some(Place::new(data_dir, name_or_device)?).filter(Place::exists).ok_or_else(not_attached);
    }
    for place in Place::all(data_dir)? {
        if place.read_state()?.is_some_and(|state| state.device == Path::new(name_or_device)) {
            return Ok(place);
        }
    }
    Err(not_attached())
}

fn describe(place: &Place) -> Result<Attached> {
    let is_alive = place.is_held();
    let name = place.name.clone();
    Ok(match place.read_state()? {
        Some(state) => {
            let broken = !is_alive || state.lost || !is_device_ours(place, &state);
            let State { device, method, pid, read_only, .. } = state;
            Attached { name, device, method, pid, read_only, broken }
        }
        None => Attached { name, device: PathBuf::new(), method: Method::Auto, pid: 0, read_only: false, broken: true },
    })
}

/// False if somebody else freed the device; its number may then name anything.
fn is_device_ours(place: &Place, state: &State) -> bool {
    match state.method {
        Method::Kernel => sysfs_attribute(&state.device, "backend").is_some_and(|backend| backend == place.backend()),
        _ => loop_over(&place.volume()).is_some_and(|device| device == state.device),
    }
}

/// Flushes the device, frees it and ends the helper's service. The outer error means that nothing was changed; the inner one
/// that the device is gone but not everything on it was flushed.
fn remove_device(place: &Place, state: &State) -> Result<Result<()>> {
    if !is_device_ours(place, state) {
        return remove_remains(place);
    }
    let device = Exclusive::open(&state.device, state.read_only)?;
    // Nobody is left to answer for a broken device, and whoever used it has been told by errors.
    let is_broken = state.lost || !place.is_held();
    let flushed = if is_broken || state.read_only { Ok(()) } else { device.flush() };
    let flushed = flushed.map_err(|source| AttachError::Unflushed { device: state.device.clone(), source });
    match state.method {
        Method::Kernel => {
            // The helper goes first, or it would reconnect.
            process::end_helper(place)?;
            disconnect_kernel(&state.device)?;
        }
        _ => {
            device.clear_loop()?;
            process::unmount(&place.mount_point())?;
        }
    }
    Ok(flushed)
}

fn disconnect_kernel(device: &Path) -> Result<()> {
    let driver = kernel::Driver::open()?;
    kernel::device_index(device).map_or(Ok(()), |index| driver.disconnect(index))
}

/// Clears an attachment without a state, or whose device is not its own any more.
fn remove_remains(place: &Place) -> Result<Result<()>> {
    if let Some(device) = loop_over(&place.volume()) {
        Exclusive::open(&device, true)?.clear_loop()?;
    }
    if let Some(device) = kernel::device_of(&place.backend()) {
        drop(Exclusive::open(&device, true)?);
        process::end_helper(place)?;
        disconnect_kernel(&device)?;
    }
    process::unmount(&place.mount_point())?;
    Ok(Ok(()))
}
