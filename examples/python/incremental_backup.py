#!/usr/bin/env python3
"""Backs up the snapshots of a volume into a directory: each block once, by what it holds.

usage: incremental_backup.py backup STORE VOLUME DIRECTORY
       incremental_backup.py restore DIRECTORY/NAME.map IMAGE

A backup is a map, NAME.map: the volume's size, then offset and fingerprint of each block that is not zeros. Blocks are files in
DIRECTORY/blocks. Only what changed since the last backup is asked for, and only blocks that no backup has are read.
"""

import bisect
import os
import pathlib
import sys
import time

import siltstone


def block_file(directory, fingerprint):
    return directory / "blocks" / fingerprint[:2] / fingerprint


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
    known = {one.name for one in store.snapshots(volume)}
    maps = sorted(map_file for map_file in directory.glob(f"{volume}@backup-*.map") if map_file.stem in known)
    last = maps[-1] if maps else None
    read = 0
    with store.snapshot(f"{volume}@backup-{time.time_ns()}") as snapshot:
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
                if not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.with_suffix(".new").write_bytes(snapshot.read_at(offset, size))
                    file.with_suffix(".new").rename(file)
                    read += 1
        lines = [f"{snapshot.size_bytes}\n", *(f"{offset} {fingerprint}\n" for offset, fingerprint in blocks.items())]
        draft = directory / f"{snapshot.name}.new"
        draft.write_text("".join(lines))
        os.sync()  # Before it has its name, so that no power cut takes what a map names.
        draft.rename(draft.with_suffix(".map"))
    if last:
        store.remove_snapshot(last.stem)
    print(f"{snapshot.name}: {len(blocks)} blocks, {read} of them new")


def restore(map_file, image):
    size, *lines = map_file.read_text().splitlines()
    with open(image, "xb") as out:
        for offset, fingerprint in map(str.split, lines):
            out.seek(int(offset))
            out.write(block_file(map_file.parent, fingerprint).read_bytes())
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
