"""What is done to a store, and how it is verified."""

import collections
import errno
import subprocess
import time

import nbd

from churn.node import Refused
from churn.oracle import BLOCK, POOLED, Burst, Image, Oracle

CHUNK_BLOCKS = 256
VOLUMES_MAX = 5
SNAPSHOTS_MAX = 6
IN_FLIGHT_MAX = 24
COMMAND_KILLED_MS_MAX = 40

WEIGHTS = {
    "write": 40, "flush": 8, "trim": 8, "read": 10, "create": 3, "snapshot": 6, "rename": 2, "drop_snapshot": 4,
    "clone": 3, "roll_back": 3, "rewind": 2, "discard": 2, "restore": 2, "purge": 1, "remove": 2, "collect": 3,
    "fill": 1, "kill": 4, "kill_writing": 6, "kill_command": 4, "stop_and_check": 1, "checkpoint": 1,
}  # fmt: skip


class Churn:
    """Does one thing after the other to a node, and keeps the oracle."""

    def __init__(self, node, rng, log):
        self.node = node
        self.rng = rng
        self.log = log
        self.oracle = Oracle()
        self.counts = collections.Counter()
        self.next_content = POOLED
        self.next_name = 0
        self.began = time.monotonic()

    def note(self, text):
        print(f"{time.monotonic() - self.began:9.3f} {text}", file=self.log)

    def summary(self):
        done = " ".join(f"{name}={count}" for name, count in sorted(self.counts.items()))
        return f"{time.monotonic() - self.began:.0f} s: {done}"

    def step(self):
        if not self.oracle.volumes:
            name = "create"
        else:
            name = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        self.counts[name] += 1
        try:
            getattr(self, name)()
        except Refused as refused:
            # A full disk may refuse what needs room; everything else has to work.
            if refused.kind != "out_of_space":
                raise
            self.counts["refused"] += 1
            self.note(f"{name}: {refused}")

    def finish(self):
        self.stop_and_check()
        self.checkpoint()

    # Choices

    def new_name(self):
        self.next_name += 1
        return f"v{self.next_name}"

    def new_contents(self, count):
        """Mostly new ones, some that were stored before, some zeros."""
        kind = self.rng.randrange(8)
        if kind == 0:
            return [self.rng.randrange(1, POOLED) for _ in range(count)]
        if kind == 1:
            return [0] * count
        self.next_content += count
        return list(range(self.next_content - count + 1, self.next_content + 1))

    def volume(self):
        name = self.rng.choice(sorted(self.oracle.volumes))
        return name, self.oracle.volumes[name]

    def snapshot_or_none(self):
        names = sorted((volume, name) for volume in self.oracle.volumes for name in self.oracle.snapshots[volume])
        return self.rng.choice(names) if names else None

    def place(self, image, longest):
        count = min(len(image.blocks), 1 + self.rng.randrange(longest))
        return self.rng.randrange(len(image.blocks) - count + 1), count

    # I/O

    def send(self, handle, burst, first, numbers):
        burst.add(first, numbers)
        data = bytearray(Image(numbers).bytes(0, len(numbers)))
        return handle.aio_pwrite(nbd.Buffer.from_bytearray(data), first * BLOCK)

    def send_burst(self, name, image):
        handle, burst, cookies = self.node.open(name), Burst(image), []
        for _ in range(1 + self.rng.randrange(IN_FLIGHT_MAX)):
            first, count = self.place(image, 64 if self.rng.randrange(4) == 0 else 6)
            cookies.append(self.send(handle, burst, first, self.new_contents(count)))
        return handle, burst, cookies

    @staticmethod
    def take_answers(handle, burst, cookies):
        """Notes how writes were answered; how many still are not."""
        for write, cookie in zip(burst.writes, cookies):
            if write[2] != "unanswered":
                continue
            try:
                if handle.aio_command_completed(cookie):
                    write[2] = "answered"
            except nbd.Error as error:
                if error.errnum == errno.ENOSPC:
                    write[2] = "refused"
                elif error.errnum not in (errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNRESET, errno.EPIPE, errno.EINVAL):
                    raise
        return sum(write[2] == "unanswered" for write in burst.writes)

    def settle(self, name, burst):
        handle = self.node.open(name)
        why = burst.settle(lambda block: handle.pread(BLOCK, block * BLOCK))
        assert why is None, f"{name}: {why}"

    def write(self):
        name, image = self.volume()
        handle, burst, cookies = self.send_burst(name, image)
        while self.take_answers(handle, burst, cookies):
            handle.poll(-1)
        refused = sum(write[2] == "refused" for write in burst.writes)
        self.counts["writes"] += len(cookies)
        self.counts["writes_refused"] += refused
        self.note(f"write {name}: {len(cookies)}, {refused} refused")
        self.settle(name, burst)

    def flush(self):
        name, _ = self.volume()
        self.node.open(name).flush()
        self.note(f"flush {name}")

    def trim(self):
        name, image = self.volume()
        first, count = self.place(image, len(image.blocks) if self.rng.randrange(4) == 0 else 64)
        handle = self.node.open(name)
        erase = handle.trim if self.rng.randrange(2) else handle.zero
        erase(count * BLOCK, first * BLOCK)
        image.blocks[first : first + count] = Image.empty(count).blocks
        self.note(f"{erase.__name__} {name}: {count} blocks at {first}")

    def read(self):
        name = self.rng.choice(sorted(self.oracle.readable()))
        image = self.oracle.readable()[name]
        first, count = self.place(image, CHUNK_BLOCKS)
        self.compare(name, image, first, count)

    def compare(self, name, image, first, count):
        found = self.node.open(name).pread(count * BLOCK, first * BLOCK)
        if found != image.bytes(first, count):
            block = image.first_difference(first, found)
            raise AssertionError(f"{name}: block {block} is not content {image.blocks[block]}")

    # Volumes

    def create(self):
        if len(self.oracle.volumes) >= VOLUMES_MAX:
            return
        name, mib = self.new_name(), self.rng.choice([4, 16, 48, 100])
        codec = self.rng.choice(["lz4", "zstd", "none"])
        self.node.run("create", name, "--size", f"{mib}M", "--codec", codec)
        self.oracle.create(name, Image.empty((mib << 20) // BLOCK))
        self.note(f"create {name} of {mib} MiB, {codec}")

    def snapshot(self):
        volume, image = self.volume()
        if len(self.oracle.snapshots[volume]) < SNAPSHOTS_MAX:
            name = self.new_name()
            self.node.run("snap", "create", f"{volume}@{name}")
            self.oracle.snapshots[volume][name] = image.copy()
            self.note(f"snapshot {volume}@{name}")

    def rename(self):
        if chosen := self.snapshot_or_none():
            volume, old = chosen
            new = self.new_name()
            self.node.close(f"{volume}@{old}")
            self.node.run("snap", "rename", f"{volume}@{old}", new)
            snapshots = self.oracle.snapshots[volume]
            snapshots[new] = snapshots.pop(old)
            self.note(f"rename {volume}@{old} to {new}")

    def drop_snapshot(self):
        if chosen := self.snapshot_or_none():
            volume, name = chosen
            self.node.close(f"{volume}@{name}")
            self.node.run("snap", "rm", f"{volume}@{name}")
            del self.oracle.snapshots[volume][name]
            self.note(f"drop {volume}@{name}")

    def clone(self):
        if len(self.oracle.volumes) < VOLUMES_MAX:
            of = self.rng.choice(sorted(self.oracle.readable()))
            name, image = self.new_name(), self.oracle.readable()[of].copy()
            self.node.run("clone", of, name)
            self.oracle.create(name, image)
            self.note(f"clone {of} as {name}")

    def roll_back(self):
        if chosen := self.snapshot_or_none():
            volume, name = chosen
            self.node.close(volume)
            self.node.run("snap", "rollback", f"{volume}@{name}")
            self.oracle.volumes[volume] = self.oracle.snapshots[volume][name].copy()
            self.note(f"roll back {volume}@{name}")

    def rewind(self):
        """Back to the newest snapshot; which one that is, the node says."""
        if (chosen := self.snapshot_or_none()) is None:
            return
        volume, _ = chosen
        self.node.close(volume)
        try:
            answer = self.node.run("rewind", volume, "--ago", "1s")
        except Refused as refused:
            if refused.kind != "not_found":
                raise
            return
        snapshots = self.oracle.snapshots[volume]
        snapshots[answer["before"].split("@")[1]] = self.oracle.volumes[volume]
        self.oracle.volumes[volume] = snapshots[answer["to"].split("@")[1]].copy()
        self.note(f"rewind {volume} to {answer['to']}, before: {answer['before']}")

    def close_all_of(self, volume):
        for name in [volume, *(f"{volume}@{snapshot}" for snapshot in self.oracle.snapshots[volume])]:
            self.node.close(name)

    def discard(self):
        volume, _ = self.volume()
        self.close_all_of(volume)
        self.node.run("rm", volume, "--snapshots")
        self.oracle.trash[volume] = self.oracle.remove(volume)
        self.note(f"discard {volume}")

    def restore(self):
        if self.oracle.trash and len(self.oracle.volumes) < VOLUMES_MAX:
            volume = self.rng.choice(sorted(self.oracle.trash))
            self.node.run("trash", "restore", volume)
            image, snapshots = self.oracle.trash.pop(volume)
            self.oracle.volumes[volume], self.oracle.snapshots[volume] = image, snapshots
            self.note(f"restore {volume}")

    def purge(self):
        if self.oracle.trash:
            volume = self.rng.choice(sorted(self.oracle.trash))
            self.node.run("trash", "purge", volume)
            del self.oracle.trash[volume]
            self.note(f"purge {volume}")

    def remove(self):
        volume, _ = self.volume()
        self.close_all_of(volume)
        self.node.run("rm", volume, "--now", "--snapshots")
        self.oracle.remove(volume)
        self.note(f"remove {volume}")

    def collect(self):
        words = ["gc", *(["--now"] if self.rng.randrange(2) else [])]
        self.note(f"{' '.join(words)}: {self.node.run(*words)}")

    # A full disk

    def fill(self):
        """Writes until there is no room; then what takes no room must go on, and what frees some must let writes resume."""
        name = self.new_name()
        blocks = 2 * self.node.disk.size // BLOCK
        self.node.run("create", name, "--size", str(blocks * BLOCK), "--codec", "none")
        image = Image.empty(blocks)
        self.oracle.create(name, image)
        handle, first = self.node.open(name), 0
        while first < blocks:
            self.next_content += 64
            burst = Burst(image)
            cookies = [self.send(handle, burst, first, list(range(self.next_content - 63, self.next_content + 1)))]
            while self.take_answers(handle, burst, cookies):
                handle.poll(-1)
            self.settle(name, burst)
            if burst.writes[0][2] == "refused":
                break
            first += 64
        self.counts["blocks_filled"] += first
        self.note(f"fill {name}: {first} blocks")
        assert first < blocks, "a volume twice the size of the disk can be filled"
        handle.flush()
        self.trim()
        self.read()
        handle.trim(min(first, 64) * BLOCK, 0)
        image.blocks[: min(first, 64)] = Image.empty(min(first, 64)).blocks
        if self.rng.randrange(2):
            self.restart_killed()
        self.verify(name, image, first)
        self.close_all_of(name)
        self.node.run("rm", name, "--now")
        self.oracle.remove(name)
        self.await_room()

    def await_room(self):
        """Writes resume by themselves; a trash that is full is its owner's to purge."""
        for volume in list(self.oracle.trash):
            self.node.run("trash", "purge", volume)
            del self.oracle.trash[volume]
        name, image = self.volume() if self.oracle.volumes else (None, None)
        deadline = time.monotonic() + 60
        while name is not None:
            self.next_content += 1
            handle, burst = self.node.open(name), Burst(image)
            cookies = [self.send(handle, burst, 0, [self.next_content])]
            while self.take_answers(handle, burst, cookies):
                handle.poll(-1)
            self.settle(name, burst)
            if burst.writes[0][2] == "answered":
                break
            assert time.monotonic() < deadline, "writes do not resume when there is room"
            time.sleep(0.2)
        self.note("there is room again")

    # Crashes and stops

    def restart_killed(self):
        self.node.kill()
        self.node.forget_handles()
        self.node.start()

    def kill(self):
        self.note("kill")
        self.restart_killed()
        self.read()

    def kill_writing(self):
        name, image = self.volume()
        handle, burst, cookies = self.send_burst(name, image)
        wanted = self.rng.randrange(len(cookies) + 1)
        while len(cookies) - self.take_answers(handle, burst, cookies) < wanted:
            handle.poll(-1)
        self.node.kill()
        while self.take_answers(handle, burst, cookies):
            try:
                handle.poll(1000)
            except nbd.Error:
                self.take_answers(handle, burst, cookies)
                break
        fates = collections.Counter(write[2] for write in burst.writes)
        self.note(f"kill writing {name}: {dict(fates)}")
        self.counts["writes"] += len(cookies)
        self.node.forget_handles()
        self.node.start()
        self.settle(name, burst)

    def kill_command(self):
        """kill -9 while a command runs: it took effect or it did not, and if it was answered it did."""
        volume, image = self.volume()
        chosen = self.snapshot_or_none()
        old, new = None, self.new_name()
        kinds = ["snapshot", "clone"] + (["drop", "roll back"] if chosen else [])
        kind = self.rng.choice(kinds)
        if kind in ("drop", "roll back"):
            volume, old = chosen
            self.node.close(f"{volume}@{old}")
            self.node.close(volume)
        words = {
            "snapshot": lambda: ["snap", "create", f"{volume}@{new}"],
            "clone": lambda: ["clone", volume, new],
            "drop": lambda: ["snap", "rm", f"{volume}@{old}"],
            "roll back": lambda: ["snap", "rollback", f"{volume}@{old}"],
        }[kind]()
        command = self.node.begin(*words)
        time.sleep(self.rng.randrange(COMMAND_KILLED_MS_MAX) / 1000)
        self.node.kill()
        try:
            self.node.result(words, command)
            is_answered = True
        except (Refused, subprocess.TimeoutExpired):
            is_answered = False
        self.node.forget_handles()
        self.node.start()
        is_done = self.took_effect(kind, volume, old, new, image)
        self.note(f"kill in {' '.join(words)}: answered {is_answered}, done {is_done}")
        assert is_done or not is_answered, f"silt {' '.join(words)} was answered and is undone"

    def took_effect(self, kind, volume, old, new, image):
        """Finds out, and changes the oracle if so."""
        volumes = {entry["name"] for entry in self.node.run("ls")["volumes"]}
        snapshots = {entry["name"] for entry in self.node.run("snap", "ls")["snapshots"]}
        if kind == "snapshot":
            if is_done := f"{volume}@{new}" in snapshots:
                self.oracle.snapshots[volume][new] = image.copy()
        elif kind == "clone":
            if is_done := new in volumes:
                self.oracle.create(new, image.copy())
        elif kind == "drop":
            if is_done := f"{volume}@{old}" not in snapshots:
                del self.oracle.snapshots[volume][old]
        else:
            before, after = self.oracle.volumes[volume], self.oracle.snapshots[volume][old].copy()
            differing = (at for at, pair in enumerate(zip(before.blocks, after.blocks)) if pair[0] != pair[1])
            at = next(differing, None)
            is_done = at is None or self.node.open(volume).pread(BLOCK, at * BLOCK) == after.bytes(at, 1)
            if is_done:
                self.oracle.volumes[volume] = after
        return is_done

    def stop_and_check(self):
        self.note("stop and check")
        self.node.stop()
        report = self.node.run("check")
        assert not report["damaged"], f"damage in a sound store: {report['damage']}"
        self.node.start()

    def checkpoint(self):
        """Everything is there, nothing else is, and all of it is read."""
        self.note("checkpoint")
        volumes = {entry["name"] for entry in self.node.run("ls")["volumes"]}
        snapshots = {entry["name"] for entry in self.node.run("snap", "ls")["snapshots"]}
        trash = {entry["name"] for entry in self.node.run("trash", "ls")["trash"]}
        readable = self.oracle.readable()
        wanted = (set(self.oracle.volumes), {name for name in readable if "@" in name}, set(self.oracle.trash))
        assert (volumes, snapshots, trash) == wanted, f"{(volumes, snapshots, trash)} instead of {wanted}"
        for name, image in readable.items():
            self.verify(name, image, len(image.blocks))

    def verify(self, name, image, count):
        for first in range(0, count, CHUNK_BLOCKS):
            self.compare(name, image, first, min(CHUNK_BLOCKS, count - first))
        self.counts["blocks_verified"] += count
