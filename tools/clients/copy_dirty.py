"""Brings an image up to a snapshot by reading only what a dirty bitmap names, as backup programs do. Prints how many bytes that was.

usage: copy_dirty.py URI-OF-THE-NEW-SNAPSHOT NAME-OF-THE-OLD-ONE IMAGE-OF-THE-OLD-ONE
"""

import sys

import nbd

PIECE_BYTES = 1 << 20


def dirty_ranges(handle):
    at = 0

    def extent(_context, offset, entries, _error):
        nonlocal at
        at = offset
        for length, flags in zip(entries[::2], entries[1::2], strict=True):
            if flags & 1:
                found.append((at, length))
            at += length
        return 0

    while at < handle.get_size():
        found = []
        handle.block_status(min(handle.get_size() - at, 1 << 30), at, extent)
        yield from found


def main(uri, old, image):
    handle = nbd.NBD()
    handle.add_meta_context(f"qemu:dirty-bitmap:{old}")
    handle.connect_uri(uri)
    assert handle.can_meta_context(f"qemu:dirty-bitmap:{old}"), "the snapshot knows nothing of the old one"
    copied = 0
    with open(image, "r+b") as out:
        for offset, length in dirty_ranges(handle):
            for at in range(offset, offset + length, PIECE_BYTES):
                piece = handle.pread(min(PIECE_BYTES, offset + length - at), at)
                out.seek(at)
                copied += out.write(piece)
    print(copied)


main(*sys.argv[1:])
