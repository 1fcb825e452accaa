"""Others that use the cluster at the same time, each with a volume of its own at the client's node: fio, and a file system.

They verify by their own means: fio by checksums in what it wrote, the file system by fsck and by files whose sums were noted
once they were durable. Like the client they wait through outages, and see an error only when their own node is killed.
"""

import pathlib
import shutil
import subprocess
import sys
import threading
import time

from outage.cluster import REPLICAS

WRITER = pathlib.Path(__file__).resolve().parent.parent / "clients/fsync_writer.py"
# A round of the file system; then its files are compared and removed.
ROUND_FILES = 300
# Longer than any outage.
PATIENCE_SECONDS = 120


def run(*words):
    """A command that must succeed, and what it said if it did not."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.returncode}: {done.stdout.decode()[-2000:]}"
    return done.stdout.decode()


def wait_until(what, is_so):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"gave up waiting until {what}"
        time.sleep(0.02)


class Tenant:
    """A thread that works in rounds. `failure` says what went wrong."""

    def __init__(self, cluster, volume, size):
        self.cluster = cluster
        self.volume = volume
        self.size = size
        self.home = None
        self.thread = None
        self.process = None
        self.failure = None
        self.is_ending = False
        self.rounds_count = 0
        self.has_worked = False

    def uri(self, member=None):
        return f"nbd+unix:///{self.volume}?socket={(member or self.home).disk.data}/nbd.sock"

    def create(self, member):
        member.run("create", self.volume, "--size", self.size, "--replicas", str(REPLICAS))

    def settle_at(self, member):
        self.home, self.is_ending = member, False
        self.arrive()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        try:
            while not self.is_ending:
                self.round()
                self.rounds_count += 1
                self.has_worked |= not self.is_ending
        except Exception as error:
            # Whatever it is: the thread would end unseen.
            if not self.is_ending:
                self.failure = error

    def check(self):
        if self.failure is not None:
            raise self.failure

    def stop(self):
        """Ends the work, where it is."""
        self.is_ending = True
        self.kill_process()
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive(), f"the work on {self.volume} does not end"
        # One that had just begun.
        self.kill_process()

    def kill_process(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def leave(self):
        # One that never comes through a round proves nothing.
        wait_until(f"a round on {self.volume} is done", lambda: self.has_worked or self.failure is not None)
        self.stop()
        self.check()
        self.depart()

    def expect_loss(self):
        """Its node is about to be killed: from now on errors are no failure."""
        self.check()
        self.is_ending = True

    def lose_home(self):
        """Its node has been killed."""
        self.stop()
        self.check()
        self.drop()

    # What differs

    def arrive(self):
        pass

    def round(self):
        raise NotImplementedError

    def depart(self):
        pass

    def drop(self):
        pass

    def compare_at(self, member):
        """What it left is the same through another node."""

    def clean(self):
        """Whatever state it is in, nothing is left running or mounted."""


class Fio(Tenant):
    """fio writes blocks with checksums and reads them back."""

    SHAPES = [
        ["--rw=randwrite", "--bs=4k", "--iodepth=16"],
        ["--rw=randrw", "--bssplit=512/20:4k/40:12k/20:64k/20", "--blockalign=512", "--iodepth=8", "--fsync=64"],
        ["--rw=write", "--bs=1M", "--iodepth=4"],
    ]  # fmt: skip

    def __init__(self, cluster):
        super().__init__(cluster, "fio", "32M")
        self.last = []

    def command(self, member, *options):
        return [
            "fio", "--name=verify", f"--aux-path={self.cluster.scratch}", "--ioengine=nbd", f"--uri={self.uri(member)}",
            "--thread", "--size=24M", "--rate=6M", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
            "--end_fsync=1", *options,
        ]  # fmt: skip

    def round(self):
        seed = self.rounds_count + 1
        self.last = [*self.SHAPES[self.rounds_count % len(self.SHAPES)], f"--randseed={seed}"]
        self.process = subprocess.Popen(
            self.command(self.home, *self.last), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = self.process.communicate()
        assert self.process.returncode == 0 or self.is_ending, f"fio: {said.decode()[-3000:]}"

    def depart(self):
        """A last round, which stays."""
        self.rounds_count -= self.rounds_count % len(self.SHAPES)
        self.is_ending = False
        self.round()

    def compare_at(self, member):
        run(*self.command(member, *self.last, "--verify_only"))

    def clean(self):
        self.kill_process()


class Files(Tenant):
    """A file system, by a FUSE file under a loop device."""

    def __init__(self, cluster):
        super().__init__(cluster, "files", "256M")
        self.fuse = cluster.scratch / "fuse"
        self.mount_point = cluster.scratch / "mount"
        self.sums = cluster.scratch / "sums"
        self.nbdfuse = None
        self.device = None
        self.is_made = False

    def arrive(self):
        self.connect(self.home)
        if not self.is_made:
            run("mkfs.ext4", "-q", "-F", self.device)
            self.is_made = True
        self.mount()
        if self.sums.exists():
            self.compare()
            self.unmount()
            self.fsck()
            self.mount()
            self.forget_round()

    def round(self):
        directory = self.mount_point / "synced"
        directory.mkdir()
        self.sums.touch()
        self.process = subprocess.Popen(
            [sys.executable, WRITER, directory, self.sums, str(self.rounds_count)], stderr=subprocess.PIPE
        )
        while not self.is_ending and self.process.poll() is None and self.files_count() < ROUND_FILES:
            time.sleep(0.1)
        if self.is_ending:
            return
        assert self.process.poll() is None, f"a file is not written: {self.process.stderr.read().decode()[-2000:]}"
        self.kill_process()
        self.compare()
        self.forget_round()

    def files_count(self):
        return len(self.sums.read_text(encoding="ascii").splitlines())

    def compare(self):
        """Every file that was durable is whole."""
        if self.files_count() > 0:
            run("sh", "-c", f"cd '{self.mount_point}/synced' && sha256sum --quiet --strict -c '{self.sums}'")

    def forget_round(self):
        shutil.rmtree(self.mount_point / "synced", ignore_errors=True)
        self.sums.unlink()

    def depart(self):
        self.unmount()
        self.fsck()
        self.disconnect()

    def drop(self):
        """As a machine does whose disk went away."""
        wait_until("the file system is dropped", self.has_unmounted)
        self.disconnect()

    def compare_at(self, member):
        self.connect(member, "--readonly")
        self.mount("ro,noload")
        self.compare()
        self.unmount()
        self.disconnect()

    def connect(self, member, *options):
        self.fuse.mkdir(exist_ok=True)
        self.nbdfuse = subprocess.Popen(["nbdfuse", *options, self.fuse / "disk", self.uri(member)])
        wait_until("there is a file for the volume", (self.fuse / "disk").exists)
        read_only = ["--read-only"] if options else []
        self.device = run("losetup", "--find", "--show", *read_only, self.fuse / "disk").strip()

    def disconnect(self):
        run("losetup", "-d", self.device)
        self.device = None
        # The loop device lets go of its file a moment later.
        wait_until("the file for the volume is gone", lambda: subprocess.call(["umount", self.fuse]) == 0)
        self.nbdfuse.wait(timeout=PATIENCE_SECONDS)
        self.nbdfuse = None

    def mount(self, options="defaults"):
        self.mount_point.mkdir(exist_ok=True)
        run("mount", "-o", options, self.device, self.mount_point)

    def unmount(self):
        run("umount", self.mount_point)

    def is_mounted(self):
        return f" {self.mount_point} " in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8")

    def has_unmounted(self):
        return not self.is_mounted() or subprocess.call(["umount", self.mount_point]) == 0

    def fsck(self):
        run("e2fsck", "-fn", self.device)

    def clean(self):
        self.kill_process()
        if self.is_mounted():
            subprocess.call(["umount", "-l", self.mount_point])
        if self.device is not None:
            subprocess.call(["losetup", "-d", self.device])
        if self.nbdfuse is not None:
            subprocess.call(["umount", "-l", self.fuse])
            self.nbdfuse.kill()
            self.nbdfuse.wait()


def make(cluster, names):
    """The tenants of these names."""
    kinds = {"fio": Fio, "files": Files}
    return [kinds[name](cluster) for name in names]
