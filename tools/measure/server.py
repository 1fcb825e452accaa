"""The NBD servers that are compared: each serves one volume on a Unix socket from files in one directory."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 120


class ServerFailed(Exception):
    """A server did not start, stop or stay."""


class Server:
    """Start, stop, start again: the volume outlives the process unless `keeps_data` is false."""

    keeps_data = True
    # What fio needs to know to reach it, beside its options.
    environment = {}

    def __init__(self, name, work, size_bytes):
        self.name = name
        self.size_bytes = size_bytes
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.", dir=work))
        # The path of a socket has room for some hundred bytes, which a build directory may use up.
        self.socket_directory = pathlib.Path(tempfile.mkdtemp(prefix="silt-bench."))
        self.socket = self.socket_directory / "nbd.sock"
        self.process = None
        self.launched = 0.0

    def command(self):
        raise NotImplementedError

    def prepare(self):
        """Makes the empty volume."""

    @property
    def uri(self):
        return f"nbd+unix:///?socket={self.socket}"

    @property
    def fio_options(self):
        """How fio reaches the volume."""
        return ["--ioengine=nbd", f"--uri={self.uri}"]

    @property
    def pid(self):
        return self.process.pid

    @property
    def pids(self):
        """All processes of the server, by name."""
        return {self.name: self.pid}

    def start(self):
        """Returns the seconds until the server had sent its greeting."""
        self.launch()
        return self.wait_started()

    def launch(self):
        self.socket.unlink(missing_ok=True)
        with open(self.directory / "server.log", "ab") as log:
            self.launched = time.monotonic()
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_started(self):
        while not greets(self.socket):
            if self.process.poll() is not None or time.monotonic() - self.launched > START_SECONDS_MAX:
                raise ServerFailed(f"{self.name} did not start: {self.log()}")
            time.sleep(0.002)
        return time.monotonic() - self.launched

    def log(self):
        return (self.directory / "server.log").read_text(errors="replace")[-2000:]

    def stop(self):
        self.ask_to_stop()
        self.wait_stopped()

    def ask_to_stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def wait_stopped(self):
        if self.process is None:
            return
        try:
            self.process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired as late:
            self.kill()
            raise ServerFailed(f"{self.name} did not stop") from late
        self.process = None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.socket_directory, ignore_errors=True)

    def stored_bytes(self):
        """What the volume takes on the disk."""
        return sum(entry.lstat().st_blocks * 512 for entry in self.directory.rglob("*"))


def greets(path):
    """True once an NBD server has sent its greeting on this socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(START_SECONDS_MAX)
        try:
            client.connect(str(path))
            return client.recv(8) == b"NBDMAGIC"
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
            return False


class QemuRaw(Server):
    """qemu-nbd on a plain file, past the page cache: the server all others are compared with."""

    image_format = "raw"

    def prepare(self):
        image = str(self.directory / "volume")
        command = ["qemu-img", "create", "-q", "-f", self.image_format, image, str(self.size_bytes)]
        subprocess.run(command, check=True)

    def command(self):
        options = ["-t", "-f", self.image_format, "--cache=none", "--aio=io_uring", "-e", "8", "-x", ""]
        return ["qemu-nbd", *options, "-k", str(self.socket), str(self.directory / "volume")]


class QemuQcow2(QemuRaw):
    """qemu-nbd on a qcow2 image."""

    image_format = "qcow2"


class NbdkitFile(Server):
    """nbdkit on a plain file, through the page cache."""

    def prepare(self):
        with open(self.directory / "volume", "wb") as volume:
            volume.truncate(self.size_bytes)

    def command(self):
        return ["nbdkit", "-f", "-U", str(self.socket), "file", str(self.directory / "volume")]


class NbdkitMemory(Server):
    """nbdkit in memory: what the protocol and the load generator cost without a disk."""

    keeps_data = False

    def command(self):
        return ["nbdkit", "-f", "-U", str(self.socket), "memory", str(self.size_bytes)]


class Siltstone(Server):
    """`silt serve` of one build, with the options given."""

    def __init__(self, name, work, size_bytes, program, options=()):
        super().__init__(name, work, size_bytes)
        self.program = program
        self.options = list(options)
        self.data = self.directory / "data"
        self.created = False

    @property
    def uri(self):
        return f"nbd+unix:///bench?socket={self.socket}"

    def command(self):
        create = [] if self.created else ["--create", f"bench={self.size_bytes}"]
        self.created = True
        return [self.program, "serve", "--data", self.data_link(), "--no-tcp", *create, *self.options]

    def data_link(self):
        """The daemon puts its socket into the data directory; a short link keeps the path within bounds."""
        short = self.socket_directory / "data"
        self.data.mkdir(exist_ok=True)
        if not short.is_symlink():
            short.symlink_to(self.data)
        self.socket = short / "nbd.sock"
        return str(short)


PEERS = {
    "qemu-raw": QemuRaw,
    "qemu-qcow2": QemuQcow2,
    "nbdkit-file": NbdkitFile,
    "nbdkit-memory": NbdkitMemory,
}
PEER_PROGRAMS = {"qemu-raw": "qemu-nbd", "qemu-qcow2": "qemu-nbd", "nbdkit-file": "nbdkit", "nbdkit-memory": "nbdkit"}


def drop_page_cache():
    """True if the kernel let us: it takes root."""
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
    except OSError:
        return False
    return True
