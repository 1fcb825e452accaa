//! A data directory with an NBD server behind its socket, and what is attached from it; all gone when dropped.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blockdev::attach::{self, Attached};
use lsm_store::clock::{Clock, SystemClock};

/// A data directory with one volume, `demo`, in `disk.img` if it has a file.
pub(super) struct Rig {
    root: PathBuf,
}

/// An NBD server; killed when dropped.
pub(super) struct Server(Child);

/// A mounted device; unmounted when dropped.
pub(super) struct Mount(PathBuf);

/// A program that has ended.
pub(super) struct Outcome {
    command: String,
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// A program to run.
pub(super) struct Runnable(Command);

/// What these tests need and the machine lacks.
pub(super) fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    ["/dev/fuse", "/dev/loop-control"].into_iter().find(|path| !Path::new(path).exists())
}

/// What the test of the kernel's driver needs and the machine lacks.
pub(super) fn missing_for_kernel() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    (!Path::new("/sys/module/nbd").exists()).then_some("NBD driver in the kernel")
}

/// The example `attach`, which cargo builds beside the tests.
fn attach_program() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/attach");
    assert!(program.exists(), "run `cargo build -p blockdev --examples` first");
    program
}

pub(super) fn command(line: &[&str]) -> Runnable {
    let mut command = Command::new(line[0]);
    command.args(&line[1..]);
    Runnable(command)
}

/// Waits up to a minute for what must come about.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        clock.sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

pub(super) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

impl Rig {
    pub(super) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = env::temp_dir().join(format!("silt-attach-{}-{number}", std::process::id()));
        fs::create_dir_all(root.join("data")).unwrap();
        fs::create_dir_all(root.join("mnt")).unwrap();
        Self { root }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Attaches `demo` by FUSE and returns its device.
    pub(super) fn attach(&self, options: &[&str]) -> PathBuf {
        self.attach_by("fuse", options)
    }

    pub(super) fn attach_by(&self, method: &str, options: &[&str]) -> PathBuf {
        self.run(&[&["attach", "demo", method], options].concat()).succeeds();
        self.only_attached().device
    }

    pub(super) fn only_attached(&self) -> Attached {
        let mut attached = attach::list(&self.data()).unwrap();
        assert_eq!(attached.len(), 1, "{attached:?}");
        attached.remove(0)
    }

    /// No attachment, no mount and no loop device.
    pub(super) fn assert_nothing_attached(&self) {
        assert_eq!(attach::list(&self.data()).unwrap(), []);
        assert!(!self.data().join("attach/demo").exists());
        let root = self.root.to_str().unwrap();
        assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(root));
        if Path::new("/dev/loop-control").exists() {
            assert!(!command(&["losetup", "--all"]).succeeds().stdout.contains(root));
        }
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(attach_program());
        command.env("RUST_LOG", "info").arg(self.data()).args(arguments);
        Runnable(command).run()
    }

    pub(super) fn helper_log(&self) -> String {
        fs::read_to_string(self.data().join("attach/demo/helper.log")).unwrap()
    }

    pub(super) fn mount(&self, device: &Path) -> Mount {
        self.mount_with(device, "rw")
    }

    pub(super) fn mount_with(&self, device: &Path, options: &str) -> Mount {
        let path = self.root.join("mnt");
        command(&["mount", "-o", options]).arg(device).arg(&path).succeeds();
        Mount(path)
    }

    /// Bytes that the volume's file takes on disk.
    pub(super) fn allocated_bytes(&self) -> u64 {
        fs::metadata(self.image()).unwrap().blocks() * 512
    }

    fn image(&self) -> PathBuf {
        self.root.join("disk.img")
    }

    fn socket(&self) -> PathBuf {
        self.data().join("nbd.sock")
    }
}

impl Drop for Rig {
    /// After a failed test too: a device left behind would outlive the test run.
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let _unmounted = umount.arg("--lazy").arg(self.root.join("mnt")).stderr(Stdio::null()).status();
        for attached in attach::list(&self.data()).unwrap_or_default() {
            if !attached.broken {
                kill(attached.pid);
            }
            let _detached = attach::detach(&self.data(), &attached.name);
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        if !self.root.to_str().is_some_and(|root| mounts.contains(root)) {
            let _removed = fs::remove_dir_all(&self.root);
        }
    }
}

impl Server {
    /// qemu-nbd on the rig's image, which is made if need be.
    pub(super) fn qemu(rig: &Rig, size_bytes: u64) -> Self {
        if !rig.image().exists() {
            fs::File::create(rig.image()).and_then(|file| file.set_len(size_bytes)).unwrap();
        }
        let mut command = Command::new("qemu-nbd");
        command.args(["--export-name=demo", "--format=raw", "--persistent", "--shared=16", "--discard=unmap"]);
        command.arg(format!("--socket={}", rig.socket().display())).arg(rig.image());
        Self::start(rig, command)
    }

    pub(super) fn nbdkit(rig: &Rig, arguments: &[&str]) -> Self {
        let mut command = Command::new("nbdkit");
        command.args(["--foreground", "--unix"]).arg(rig.socket()).args(arguments);
        Self::start(rig, command)
    }

    fn start(rig: &Rig, mut command: Command) -> Self {
        let _stale = fs::remove_file(rig.socket());
        let server = Self(command.spawn().unwrap());
        wait_until("the server", || UnixStream::connect(rig.socket()).is_ok());
        server
    }

    /// With SIGKILL, as a crash.
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

impl Mount {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        command(&["umount"]).arg(&self.0).succeeds();
    }
}

impl Runnable {
    pub(super) fn arg(mut self, argument: impl AsRef<Path>) -> Self {
        self.0.arg(argument.as_ref());
        self
    }

    pub(super) fn run(mut self) -> Outcome {
        let output = self.0.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{:?}: {error}", self.0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Outcome { command: format!("{:?}", self.0), status: output.status, stdout, stderr }
    }

    pub(super) fn succeeds(self) -> Outcome {
        let outcome = self.run();
        outcome.check();
        outcome
    }

    pub(super) fn prints(self, expected: &str) {
        assert_eq!(self.succeeds().stdout, expected);
    }
}

impl Outcome {
    pub(super) fn code(&self) -> i32 {
        self.status.code().unwrap()
    }

    pub(super) fn stderr(&self) -> &str {
        &self.stderr
    }

    pub(super) fn succeeds(self) {
        self.check();
    }

    fn check(&self) {
        let Self { command, status, stdout, stderr } = self;
        assert!(status.success(), "{command}: {status}\n{stdout}\n{stderr}");
    }
}
