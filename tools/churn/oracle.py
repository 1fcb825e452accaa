"""What a store must hold: for each block of each volume and snapshot, which content.

A content is a number; 0 is zeros, and any other gives the same 4 KiB everywhere. Some compress, some are equal to others'.
"""

import hashlib
from array import array

BLOCK = 4096
ZEROS = bytes(BLOCK)

# Contents that come again and again, so that blocks are shared, also with segments that are being collected.
POOLED = 256


def content(number):
    """The block of a content."""
    if number == 0:
        return ZEROS
    seed = number.to_bytes(8, "little")
    if number % 3 == 0:
        return hashlib.shake_128(seed).digest(BLOCK // 8) + bytes([number % 251]) * (BLOCK - BLOCK // 8)
    return hashlib.shake_128(seed).digest(BLOCK)


class Image:
    """A volume or a snapshot: its contents, block by block."""

    def __init__(self, blocks):
        self.blocks = blocks

    @classmethod
    def empty(cls, count):
        return cls(array("Q", bytes(8 * count)))

    def copy(self):
        return Image(self.blocks[:])

    def bytes(self, first, count):
        return b"".join(map(content, self.blocks[first : first + count]))

    def first_difference(self, first, found):
        """The first block whose bytes differ from `found`, which starts with block `first`."""
        for index in range(len(found) // BLOCK):
            if found[index * BLOCK : (index + 1) * BLOCK] != content(self.blocks[first + index]):
                return first + index
        return None


class Oracle:
    """Volumes with their snapshots, and the trash."""

    def __init__(self):
        self.volumes = {}
        self.snapshots = {}
        self.trash = {}

    def create(self, name, image):
        self.volumes[name] = image
        self.snapshots[name] = {}

    def readable(self):
        """Everything that can be opened, by the name of its export."""
        everything = dict(self.volumes)
        for volume, snapshots in self.snapshots.items():
            everything.update({f"{volume}@{name}": image for name, image in snapshots.items()})
        return everything

    def remove(self, name):
        return self.volumes.pop(name), self.snapshots.pop(name)


class Burst:
    """Writes to one volume that were sent one after the other, without waiting for answers."""

    def __init__(self, image):
        self.image = image
        self.writes = []

    def add(self, first, numbers):
        self.writes.append([first, numbers, "unanswered"])

    def settle(self, read):
        """Puts into the image what must be there, by how the writes were answered; `read(block)` gives what is.

        Blocks of refused writes may be old or new. Of writes that nobody answered because the daemon died, a beginning is
        there, in their order: everything before an answered one is, whether or not it was answered itself.
        """
        answered = [index for index, write in enumerate(self.writes) if write[2] == "answered"]
        floor = answered[-1] + 1 if answered else 0
        refused = [write for write in self.writes if write[2] == "refused"]
        possible = {}
        for index, (first, numbers, fate) in enumerate(self.writes):
            for block, number in enumerate(numbers, first):
                before = possible.get(block, [self.image.blocks[block]])
                is_sure = fate == "answered" or fate == "unanswered" and index < floor and not refused
                possible[block] = [number] if is_sure else [*before, number]
        found = {}
        for block, numbers in possible.items():
            bytes_there = read(block)
            found[block] = next((number for number in numbers if content(number) == bytes_there), None)
            if found[block] is None:
                return f"block {block} holds none of what it may: {numbers}"
        if not refused and not self._is_prefix(floor, found):
            return f"what is there is no beginning of {len(self.writes)} writes with {floor} in it"
        for block, number in found.items():
            self.image.blocks[block] = number
        return None

    def _is_prefix(self, floor, found):
        state = {block: self.image.blocks[block] for block in found}
        steps = []
        for index, (first, numbers, _) in enumerate(self.writes):
            pairs = list(enumerate(numbers, first))
            if index < floor:
                state.update(pairs)
            else:
                steps += pairs
        differing = {block for block in found if content(state[block]) != content(found[block])}
        for block, number in steps:
            if not differing:
                return True
            if content(number) == content(found[block]):
                differing.discard(block)
            else:
                differing.add(block)
        return not differing
