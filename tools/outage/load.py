"""A client that writes, flushes, trims and reads all the time, and knows what every block holds.

A block that is written has a version, and its content follows from the two. No two requests in flight touch one block, so
what is there is certain as soon as a request is answered.
"""

import errno
import hashlib
import struct
import threading
import time
from array import array

import nbd

BLOCK = 4096
ZEROS = bytes(BLOCK)
CHUNK_BLOCKS = 256
IN_FLIGHT_MAX = 8
POLL_MS = 20
PAUSE_SECONDS_MAX = 60
# Every eighth version is zeros.
ZERO_EVERY = 8


def is_zeros(version):
    return version % ZERO_EVERY == 0


def content(block, version):
    """A block that names its version and depends on it in every sector; none but the zeros are equal."""
    if is_zeros(version):
        return ZEROS
    head = struct.pack("<QQ", block, version)
    return head + (hashlib.blake2b(head, digest_size=64).digest() * (BLOCK // 64))[len(head) :]


def describe(found):
    """What a block seems to be."""
    if found == ZEROS:
        return "zeros"
    block, version = struct.unpack("<QQ", found[:16])
    return f"version {version} of block {block}{'' if found == content(block, version) else ', torn'}"


class Image:
    """What a volume holds: a version for each block, and the one that the last answered flush covers."""

    def __init__(self, blocks):
        self.versions = array("Q", bytes(8 * blocks))
        self.flushed = self.versions[:]

    def copy(self):
        other = Image(len(self.versions))
        other.versions, other.flushed = self.versions[:], self.flushed[:]
        return other

    def bytes(self, first, count):
        return b"".join(content(block, self.versions[block]) for block in range(first, first + count))

    def complain(self, block, found, also=()):
        """Fails unless `found` is what a block holds, or one of the versions `also`, which is then its version."""
        for version in (self.versions[block], *also):
            if found == content(block, version):
                self.versions[block] = version
                return
        raise AssertionError(
            f"block {block} holds {describe(found)}; version {self.versions[block]} was answered, "
            f"{self.flushed[block]} flushed, and on the way was {list(also)}"
        )

    def compare(self, first, found, doubts=None):
        if doubts is None and found == self.bytes(first, len(found) // BLOCK):
            return
        for index in range(len(found) // BLOCK):
            block = first + index
            self.complain(block, found[index * BLOCK : (index + 1) * BLOCK], (doubts or {}).get(block, ()))

    def verify(self, handle, doubts=None):
        """Compares all of a volume. A block with doubts holds one of these versions or its own, and it is then known."""
        for first in range(0, len(self.versions), CHUNK_BLOCKS):
            count = min(CHUNK_BLOCKS, len(self.versions) - first)
            self.compare(first, bytes(handle.pread(count * BLOCK, first * BLOCK)), doubts)


class Request:
    """One that was sent and not answered."""

    def __init__(self, verb, first, count, version, buffer):
        self.verb = verb
        self.blocks = range(first, first + count)
        self.version = version
        self.buffer = buffer
        self.sent_at = time.monotonic()


class Load(threading.Thread):
    """One connection, used by this thread alone. `failure` says what went wrong."""

    def __init__(self, uri, image, rng, first_version, rate_max):
        super().__init__(daemon=True)
        self.uri = uri
        self.image = image
        self.rng = rng
        self.version = first_version
        # Requests a second.
        self.rate_max = rate_max
        self.next_at = time.monotonic()
        self.in_flight = {}
        self.busy = set()
        self.may_go = threading.Event()
        self.is_idle = threading.Event()
        self.is_ending = False
        self.is_losing = False
        self.failure = None
        self.answered_count = 0
        self.changes_count = 0
        self.flushes_count = 0
        self.pause_seconds = 0.0
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.may_go.set()
        self.start()

    # By the thread that owns it

    def check(self):
        if self.failure is not None:
            raise self.failure

    def pause(self):
        """Returns once everything was answered."""
        self.is_idle.clear()
        self.may_go.clear()
        assert self.is_idle.wait(PAUSE_SECONDS_MAX), f"requests are not answered: {self.oldest()}"
        self.check()

    def resume(self):
        self.is_idle.clear()
        self.may_go.set()

    def oldest(self):
        requests = list(self.in_flight.values())
        ages = [f"{request.verb} of {len(request.blocks)} blocks, {self.age(request):.1f} s" for request in requests]
        return "; ".join(sorted(ages))

    @staticmethod
    def age(request):
        return time.monotonic() - request.sent_at

    def take_pause(self):
        """How long an answer took since the last call, or is taking, at most."""
        worst = max([self.pause_seconds, *map(self.age, list(self.in_flight.values()))])
        self.pause_seconds = 0.0
        return worst

    def expect_loss(self):
        """The node is about to be killed."""
        self.is_losing = True

    def end(self):
        """Stops, whatever is on its way. What that was is in doubt: the versions that a block may hold now."""
        self.is_ending = True
        self.may_go.set()
        self.join()
        doubts = {}
        for request in self.in_flight.values():
            if request.version is not None:
                doubts.update((block, [request.version]) for block in request.blocks)
        return doubts

    # By this one

    def run(self):
        try:
            while not self.is_ending:
                self.turn()
        except nbd.Error as error:
            if not self.is_losing or error.errnum == errno.EIO:
                self.failure = error
        except AssertionError as error:
            self.failure = error
        self.is_idle.set()

    def turn(self):
        if self.may_go.is_set():
            while len(self.in_flight) < IN_FLIGHT_MAX and time.monotonic() >= self.next_at:
                self.next_at = max(self.next_at + 1 / self.rate_max, time.monotonic() - 1)
                self.send()
        elif not self.in_flight:
            self.is_idle.set()
            self.may_go.wait(POLL_MS / 1000)
            return
        self.handle.poll(POLL_MS)
        for cookie, request in list(self.in_flight.items()):
            if self.handle.aio_command_completed(cookie):
                del self.in_flight[cookie]
                self.take_answer(request)

    def free_range(self):
        while True:
            count = 1 + self.rng.randrange(64 if self.rng.randrange(8) == 0 else 8)
            first = self.rng.randrange(len(self.image.versions) - count + 1)
            if self.busy.isdisjoint(range(first, first + count)):
                return first, count

    def send(self):
        verb = self.rng.choices(["write", "read", "flush"], [12, 6, 1])[0]
        if verb == "flush":
            # What it covers is what was answered before it was sent.
            request = Request(verb, 0, 0, None, self.image.versions[:])
            cookie = self.handle.aio_flush()
        elif verb == "read":
            first, count = self.free_range()
            request = Request(verb, first, count, None, nbd.Buffer(count * BLOCK))
            cookie = self.handle.aio_pread(request.buffer, first * BLOCK)
        else:
            request, cookie = self.send_change(*self.free_range())
        self.in_flight[cookie] = request
        self.busy.update(request.blocks)

    def send_change(self, first, count):
        self.version += 1
        if is_zeros(self.version):
            verb = self.rng.choice(["trim", "zero"])
            erase = self.handle.aio_trim if verb == "trim" else self.handle.aio_zero
            return Request(verb, first, count, self.version, None), erase(count * BLOCK, first * BLOCK)
        data = bytearray(b"".join(content(block, self.version) for block in range(first, first + count)))
        request = Request("write", first, count, self.version, nbd.Buffer.from_bytearray(data))
        return request, self.handle.aio_pwrite(request.buffer, first * BLOCK)

    def take_answer(self, request):
        self.busy.difference_update(request.blocks)
        self.pause_seconds = max(self.pause_seconds, self.age(request))
        self.answered_count += 1
        if request.version is not None:
            self.changes_count += 1
            for block in request.blocks:
                self.image.versions[block] = request.version
        elif request.verb == "flush":
            self.flushes_count += 1
            # Another flush may have been sent after this one and been answered before it.
            self.image.flushed = array("Q", map(max, self.image.flushed, request.buffer))
        else:
            self.image.compare(request.blocks.start, bytes(request.buffer.to_bytearray()))
