#!/usr/bin/env python3
"""Backs up the snapshots of a volume into a directory: each block once, by what it holds.

usage: incremental_backup.py backup STORE VOLUME DIRECTORY
       incremental_backup.py restore DIRECTORY/NAME.map IMAGE

A backup is a map, NAME.map: the volume's size, then offset and fingerprint of each block that is not zeros. Blocks are files in
DIRECTORY/blocks. Only what changed since the last backup is asked for, and only blocks that no backup has are read. The volume keeps
the snapshot of its last backup; it has one place that it is backed up to.
"""

import bisect
import ctypes
import os
import pathlib
import sys
import time

import siltstone

BLOCK_BYTES = 4096


def block_file(directory, fingerprint):
    return directory / "blocks" / fingerprint[:2] / fingerprint


def sync(directory):
    """Puts all that was written to the file system of a directory on disk, names too, as fsync does with a file."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(opened) != 0:
            raise OSError(ctypes.get_errno(), f"{directory} cannot be synced")
    finally:
        os.close(opened)


def name_durably(drafts, directory):
    """Gives files their names without .new: no power cut leaves a part of one under its name, or takes it away again."""
    sync(directory)
    for draft in drafts:
        draft.rename(draft.with_suffix(""))
    sync(directory)


def unchanged(map_file, changes):
    """The blocks of a backup that are in none of the ranges that changed since, by offset."""
    ends = {start: start + length for start, length in changes}
    starts, blocks = sorted(ends), {}
    for offset, fingerprint in map(str.split, map_file.read_text().splitlines()[1:]):
        before = bisect.bisect(starts, int(offset))
        if before == 0 or ends[starts[before - 1]] <= int(offset):
            blocks[int(offset)] = fingerprint
    return blocks


def backup(store, volume, directory):
    ours = f"{volume}@backup-"
    known = {one.name for one in store.snapshots(volume)}
    maps = sorted(map_file for map_file in directory.glob(f"{ours}*.map") if map_file.stem in known)
    last = maps[-1] if maps else None
    drafts = set()
    with store.snapshot(f"{ours}{time.time_ns()}") as snapshot:
        blocks, changes = {}, [(0, snapshot.size_bytes)]
        if last:
            with store.view(last.stem) as earlier:
                changes = list(snapshot.changes_since(earlier))
            blocks = unchanged(last, changes)
        for start, length in changes:
            length = min(length, snapshot.size_bytes - start)
            if length <= 0:
                continue  # It was cut off.
            for offset, size, fingerprint in snapshot.fingerprints(start, length):
                if fingerprint is None:
                    continue
                blocks[offset] = fingerprint.hex()
                file = block_file(directory, blocks[offset])
                draft = file.with_suffix(".new")
                if draft not in drafts and not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    # The end may cut the last block; what lies beyond it counts as zeros.
                    draft.write_bytes(snapshot.read_at(offset, size).ljust(BLOCK_BYTES, b"\0"))
                    drafts.add(draft)
        name_durably(drafts, directory)
        lines = [f"{snapshot.size_bytes}\n", *(f"{offset} {fingerprint}\n" for offset, fingerprint in blocks.items())]
        draft = directory / f"{snapshot.name}.map.new"
        draft.write_text("".join(lines))
        name_durably([draft], directory)
    # The next backup starts from this one. Those before it, and of backups that were broken off, go.
    for one in store.snapshots(volume):
        if one.name.startswith(ours) and one.name != snapshot.name:
            store.remove_snapshot(one.name)
    print(f"{snapshot.name}: {len(blocks)} blocks, {len(drafts)} of them new")


def restore(map_file, image):
    size, *lines = map_file.read_text().splitlines()
    with open(image, "xb") as out:
        for offset, fingerprint in map(str.split, lines):
            block = block_file(map_file.parent, fingerprint).read_bytes()
            if len(block) != BLOCK_BYTES:
                sys.exit(f"block {fingerprint} is damaged: it has {len(block)} bytes")
            out.seek(int(offset))
            out.write(block)
        out.truncate(int(size))  # The end may cut the last block.


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["backup", directory, volume, to]:
            with siltstone.connect_or_open(directory) as opened:
                backup(opened, volume, pathlib.Path(to))
        case ["restore", map_file, image]:
            restore(pathlib.Path(map_file), image)
        case _:
            sys.exit(__doc__)
