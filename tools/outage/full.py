"""One node of three on a small disk, which fills up: clients get ENOSPC, nothing answered is lost, and all goes on."""

import errno
import os
import subprocess
import time

import nbd

from outage.cluster import VOLUME

SIZE_BYTES = 2 << 30
PIECE = 256 << 10
DISK_BYTES = 448 << 20
# What fits the small disk at least, and how long collection may take to give it back.
FILLED_BYTES_MIN = 24 << 20
ROOM_SECONDS = 180
REFUSALS = 50


class SmallDisk:
    """A file system of its own in a file."""

    def __init__(self, scratch):
        self.image = scratch / "small.img"
        self.path = scratch / "small"
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(DISK_BYTES)
        self.run("mkfs.ext4", "-q", "-m", "0", self.image)
        self.run("mount", "-o", "loop", self.image, self.path)

    @staticmethod
    def run(*words):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def remove(self):
        self.run("umount", self.path)

    def free(self):
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


class FullDisk:
    """A cluster with the small disk under `n3`, and a client that writes what does not compress."""

    tenants = ()

    def __init__(self, cluster, scratch, rng):
        self.cluster = cluster
        self.scratch = scratch
        self.disk = None
        self.rng = rng
        self.pieces = {}

    def begin(self):
        self.disk = SmallDisk(self.scratch)
        cluster = self.cluster
        first = cluster.new_member()
        first.start()
        first.run("cluster", "init", "--name", first.name)
        cluster.join()
        self.small = cluster.new_member()
        self.small.disk.data = self.disk.path / "data"
        cluster.admit(self.small)
        first.run("create", VOLUME, "--size", str(SIZE_BYTES), "--replicas", "3")
        cluster.wait_healthy(first)
        self.home = first

    # The client

    def write(self, index):
        """Writes a piece; false if there is no room. What was refused may be there in part."""
        data = self.rng.randbytes(PIECE)
        try:
            self.home.open(VOLUME).pwrite(data, index * PIECE)
        except nbd.Error as error:
            assert error.errnum == errno.ENOSPC, error
            self.pieces[index] = None
            return False
        self.pieces[index] = data
        return True

    def fill(self):
        """Writes new pieces until there is no room; how many it were."""
        begun, count = max(self.pieces, default=-1) + 1, 0
        while self.write(begun + count):
            count += 1
            assert (begun + count) * PIECE < SIZE_BYTES, "the disk is never full"
        return count

    def trim(self, indices):
        for index in indices:
            self.home.open(VOLUME).trim(PIECE, index * PIECE)
            self.pieces[index] = bytes(PIECE)

    def verify(self, member, export=VOLUME, pieces=None):
        handle = member.open(export)
        for index, data in (pieces or self.pieces).items():
            assert data is None or bytes(handle.pread(PIECE, index * PIECE)) == data, f"piece {index} of {export}"
        member.close(export)

    def flush(self):
        self.home.open(VOLUME).flush()

    # Scenes

    def fills_up(self):
        """The client is told, and nothing else changes: all three nodes stay in sync."""
        for index in range(FILLED_BYTES_MIN // 2 // PIECE):
            assert self.write(index), "the disk is full too early"
        self.home.run("snap", "create", f"{VOLUME}@early")
        self.early = dict(self.pieces)
        self.fill()
        assert len(self.pieces) * PIECE >= FILLED_BYTES_MIN, f"only {len(self.pieces)} pieces fit"
        for _ in range(REFUSALS):
            self.write(max(self.pieces) + 1)
        self.flush()
        self.verify(self.home)
        self.verify(self.home, f"{VOLUME}@early", self.early)
        self.cluster.wait_healthy(self.home)
        print(f"full at {len(self.pieces) * PIECE >> 20} MiB, {self.disk.free() >> 20} MiB free", flush=True)

    def starts_again_full(self):
        """Killed, on a full disk, and back; then it serves from what it has."""
        self.small.kill()
        self.small.start()
        self.cluster.wait_healthy(self.home)
        self.home.close(VOLUME)
        seen = "the node on the small disk is primary"
        self.cluster.wait_until(seen, self.uses_at_small)
        self.verify(self.small)
        self.small.run("snap", "ls", VOLUME)
        self.home.open(VOLUME)
        self.flush()

    def uses_at_small(self):
        """A client that uses the volume brings it to its node, once that knows who has it."""
        self.small.open(VOLUME).pread(PIECE, 0)
        return self.small.primary() == self.small.name

    def makes_room(self):
        """The snapshot goes, and half of the volume: writes go on by themselves."""
        self.home.run("snap", "rm", f"{VOLUME}@early")
        self.trim([index for index in self.pieces if index % 2])
        self.flush()
        self.cluster.wait_until("writes go on", lambda: self.write(0), ROOM_SECONDS)
        count = self.fill()
        self.flush()
        self.verify(self.home)
        print(f"{count * PIECE >> 20} MiB more after trims", flush=True)

    def is_filled_by_others(self):
        """A volume of the node alone takes all the room: the others go on, or are refused what needs some; then all is as before."""
        self.trim([index for index in self.pieces if index % 3])
        self.flush()
        self.cluster.wait_until("there is room", lambda: self.write(0), ROOM_SECONDS)
        self.small.run("create", "own", "--size", str(SIZE_BYTES))
        handle, offset = self.small.open("own"), 0
        try:
            while offset < SIZE_BYTES:
                handle.pwrite(self.rng.randbytes(PIECE), offset)
                offset += PIECE
                if offset % (16 * PIECE) == 0:
                    self.write(max(self.pieces) + 1)
        except nbd.Error as error:
            assert error.errnum == errno.ENOSPC, error
        for _ in range(REFUSALS):
            self.write(max(self.pieces) + 1)
            time.sleep(0.02)
        self.verify(self.home)
        self.small.close("own")
        self.small.run("rm", "own", "--now")
        self.cluster.wait_until("writes go on", lambda: self.write(0), ROOM_SECONDS)
        self.cluster.wait_healthy(self.home)
        self.flush()
        self.verify(self.home)

    def ends(self):
        """What the small node has is what was written."""
        self.home.close(VOLUME)
        self.cluster.move_primary(self.small)
        self.verify(self.small)
        self.small.close(VOLUME)

    def play(self):
        self.begin()
        for scene in (
            self.fills_up, self.starts_again_full, self.makes_room, self.is_filled_by_others, self.ends,
        ):  # fmt: skip
            began = time.monotonic()
            scene()
            print(f"{scene.__name__:22} {time.monotonic() - began:6.1f} s", flush=True)

    def remove_disk(self):
        if self.disk is not None:
            self.disk.remove()

    def summary(self):
        written = [data for data in self.pieces.values() if data is not None]
        return f"{len(written)} pieces verified"


def can_mount():
    """Whether this machine lets the test make a file system."""
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control")
