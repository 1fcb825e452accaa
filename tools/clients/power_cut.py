"""The parts of `power-cut`: a client that notes when its flushes were answered, and a replay of a log of disk writes.

usage: power_cut.py write URI LOG ACKED
       power_cut.py replay LOG DISK POINTS ACKED
       power_cut.py check URI POSITION ACKED

LOG has the format of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), as qemu's
blklogwrites driver writes it. A position is a number of log entries. ACKED has a line `POSITION VERSION` for each
answered flush: when it was answered the log had POSITION entries, and every block had at least VERSION.
"""

import hashlib
import os
import struct
import sys

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, DISCARD = 1, 4
BLOCK = 4096
BLOCKS = 256
VERSIONS = 60
# Blocks lie apart, so that they share neither a segment's order nor a map leaf's.
STRIDE = 97 * BLOCK


class Log:
    """Reads entries as they appear; stops at the first that is not written yet."""

    def __init__(self, path):
        self.file = open(path, "rb", buffering=0)
        self.at = SECTOR
        self.count = 0

    def entries(self):
        while True:
            sector, sectors, flags, extra = struct.unpack("<QQQQ", os.pread(self.file.fileno(), 32, self.at))
            if not (sector or sectors or flags or extra):
                return
            payload_at = self.at + SECTOR
            payload_bytes = 0 if flags & DISCARD else sectors * SECTOR
            self.at = payload_at + payload_bytes
            self.count += 1
            yield sector * SECTOR, sectors * SECTOR, flags, payload_at

    def position(self):
        for _ in self.entries():
            pass
        return self.count


def content(block, version):
    """A block that names its version and depends on it in every sector; no two of them are equal."""
    head = struct.pack("<QQ", block, version)
    body = hashlib.blake2b(head, digest_size=64).digest() * (BLOCK // 64)
    return head + body[len(head) :]


def connect(uri):
    import nbd

    handle = nbd.NBD()
    handle.connect_uri(uri)
    return handle


def write(uri, log_path, acked_path):
    handle, log = connect(uri), Log(log_path)
    with open(acked_path, "w", encoding="ascii") as acked:
        for version in range(1, VERSIONS + 1):
            for block in range(BLOCKS):
                handle.pwrite(content(block, version), block * STRIDE)
            handle.flush()
            print(log.position(), version, file=acked, flush=True)


def replay(log_path, disk_path, points, acked_path):
    """Brings the disk to one flush after another, evenly spread, and lets the caller look at each."""
    with open(acked_path, encoding="ascii") as acked:
        first = int(acked.readline().split()[0])
    last = Log(log_path).position()
    step = max(1, (last - first) // points)
    due = first
    log = Log(log_path)
    with open(disk_path, "r+b", buffering=0) as disk:
        for at, length, flags, payload_at in log.entries():
            if flags & DISCARD:
                os.pwrite(disk.fileno(), bytes(length), at)
            elif length:
                os.pwrite(disk.fileno(), os.pread(log.file.fileno(), length, payload_at), at)
            if flags & FLUSH and log.count >= due:
                print(log.count, flush=True)
                if not sys.stdin.readline():
                    return
                due = log.count + step


def check(uri, position, acked_path):
    """Every block is whole, no older than the last flush answered by then, and the blocks are a prefix of the writes."""
    handle = connect(uri)
    with open(acked_path, encoding="ascii") as acked:
        pairs = [tuple(map(int, line.split())) for line in acked]
    flushed = max((version for at, version in pairs if at <= position), default=0)
    found = []
    for block in range(BLOCKS):
        data = handle.pread(BLOCK, block * STRIDE)
        named, version = struct.unpack("<QQ", data[:16])
        assert data == (content(block, version) if version else bytes(BLOCK)), f"block {block} is torn"
        assert not version or named == block, f"block {block} holds block {named}"
        found.append(version)
    assert min(found) >= flushed, f"version {min(found)} found, {flushed} was flushed"
    # Written in turn, so a prefix is some blocks of one version and then the rest of the version before.
    assert found == sorted(found, reverse=True) and max(found) - min(found) <= 1, f"not a prefix: {found}"


def main():
    verb, *rest = sys.argv[1:]
    if verb == "write":
        write(*rest)
    elif verb == "replay":
        log_path, disk_path, points, acked_path = rest
        replay(log_path, disk_path, int(points), acked_path)
    else:
        uri, position, acked_path = rest
        check(uri, int(position), acked_path)


main()
