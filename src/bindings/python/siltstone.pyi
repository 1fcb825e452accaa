"""The reading side of Siltstone: stores, volumes and snapshots, what changed, and what blocks hold.

Offsets and lengths are bytes. All calls wait, with the interpreter released; all objects may be used by several threads at once.
"""

from collections.abc import Iterator
from os import PathLike
from types import TracebackType
from typing import Literal, Self

class Error(Exception):
    """A failed operation; what to do about it is in the class, and what happened in the message."""

class NotFound(Error):
    """The thing named does not exist: check the name."""

class Exists(Error):
    """The thing named exists already: choose another name."""

class Busy(Error):
    """Somebody else uses it: end that use, or try again later."""

class OutOfSpace(Error):
    """No room for new data: free or add space."""

class Corrupt(Error):
    """What is on disk is not what was written: restore it from a backup."""

class Invalid(Error):
    """The request makes no sense: correct it."""

class ReadOnly(Error):
    """It can only be read."""

class Unavailable(Error):
    """It was closed, or its daemon is gone: open it again."""

class Unsupported(Error):
    """The other side, or what wrote the store, is newer: use the newer version. Or a replicated volume cannot do it yet, as it has no
    fingerprints and no root.
    """

class Cancelled(Error):
    """Ended by the caller's own wish. No call here can be ended yet."""

class Stopped(Error):
    """The store met an I/O error it must not retry: close it and open it again."""

class IoError(Error):
    """The machine failed to do an I/O. Through a daemon also where the store itself would say Corrupt or Stopped."""

def open(directory: str | PathLike[str], *, memory_bytes: int = ..., read_only: bool = False) -> Store:
    """Opens the store in a directory, in this process. Read-only, any number of processes may do so at once, and nothing on disk changes.

    It takes up to memory_bytes of memory, 1 GiB unless told otherwise, and 128 MiB at least. Raises NotFound, Busy if another process has the
    store (connect may reach a daemon), Unsupported, Corrupt, Invalid.
    """

def connect(directory: str | PathLike[str]) -> Store:
    """Connects to the daemon that serves a directory. Raises Unavailable if none does."""

def connect_or_open(directory: str | PathLike[str], *, memory_bytes: int = ...) -> Store:
    """Connects to the daemon that serves a directory; opens the store, for writing, if none does."""

class Info:
    """A volume or snapshot as lists show it."""

    @property
    def name(self) -> str:
        """Of a snapshot VOLUME@NAME."""
    @property
    def id(self) -> int:
        """Never used for another volume or snapshot of the store; a later snapshot has a larger one. Of a replicated volume it is the
        cluster's number, which may also be the id of something else, and snapshots of such volumes have 0.
        """
    @property
    def size_bytes(self) -> int: ...
    @property
    def created_ms(self) -> int:
        """When it was made, in milliseconds since the Unix epoch."""

class Store:
    """An open store. As a context manager it is closed at the end."""

    def volumes(self) -> list[Info]:
        """All volumes, by name."""
    def snapshots(self, volume: str | None = None) -> list[Info]:
        """The snapshots of a volume, from the oldest; or those of all volumes. Raises NotFound."""
    def view(self, name: str) -> View:
        """Opens a volume by its name, or a snapshot by VOLUME@NAME, to read. Raises NotFound, Invalid."""
    def snapshot(self, name: str) -> View:
        """Freezes what a volume holds now as the snapshot VOLUME@NAME, and opens it. Raises Exists, NotFound, ReadOnly."""
    def remove_snapshot(self, name: str) -> None:
        """Removes a snapshot. Raises NotFound, Busy while it is open, ReadOnly."""
    def close(self) -> None:
        """Closes the store; what is still open of it may raise Unavailable from then on. Raises Stopped if the disk failed."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class View:
    """An open volume or snapshot, to read. As long as it is open it is not removed. As a context manager it is closed at the end."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> int:
        """As in Info."""
    @property
    def size_bytes(self) -> int:
        """The size that it had when it was opened."""
    def read_at(self, offset: int, length: int) -> bytes:
        """Reads bytes. What was never written is zeros. Raises Invalid beyond the end, Corrupt, IoError, Unavailable."""
    def changes_since(self, earlier: View) -> Changes:
        """Where this differs from an earlier view of the same store and family. Reads no data. Raises Invalid if they share no past.

        What is left out is the same for certain; what is named was written since, or lies beyond the smaller of the two sizes.
        """
    def fingerprints(self, offset: int = 0, length: int | None = None) -> Fingerprints:
        """What the blocks hold that a range touches: all of them in order, without gaps. Reads no data."""
    def allocation(self, offset: int = 0, length: int | None = None) -> Allocation:
        """What of a range is data, allocated zeros, or hole: all of it in order, without gaps. Reads no data."""
    def root(self) -> str:
        """One digest of all that it holds, as silt verify prints it. Reads no data."""
    def close(self) -> None:
        """Closes it. Calls under way, and what was opened of it, go on."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

class Changes(Iterator[tuple[int, int]]):
    """Ranges that changed, by offset: (offset, length)."""

    def __next__(self) -> tuple[int, int]: ...

class Fingerprints(Iterator[tuple[int, int, bytes | None]]):
    """Blocks in order: (offset, length, fingerprint).

    The fingerprint is the BLAKE3-256 of a block's 4,096 bytes; what lies beyond the end of the volume counts as zeros. None stands for as
    many blocks of zeros as follow one another.
    """

    def __next__(self) -> tuple[int, int, bytes | None]: ...

class Allocation(Iterator[tuple[int, int, Literal["data", "zeros", "hole"]]]):
    """Stretches of one content in order: (offset, length, content)."""

    def __next__(self) -> tuple[int, int, Literal["data", "zeros", "hole"]]: ...
