"""The edge cases of `protocol-edges`, by libnbd with its own checks switched off.

usage: protocol_edges.py URI-OF-A-100-MIB-VOLUME URI-OF-A-VOLUME-OF-1000001-BYTES
"""

import errno
import os
import sys

import nbd

MIB = 1 << 20
SIZE = 100 * MIB
MAX_PAYLOAD = 32 * MIB


def connect(uri, contexts=("base:allocation",)):
    handle = nbd.NBD()
    handle.set_strict_mode(0)
    for context in contexts:
        handle.add_meta_context(context)
    handle.connect_uri(uri)
    return handle


def expect(wanted, what, request):
    """The request fails with one of the wanted errors."""
    try:
        request()
    except nbd.Error as error:
        assert error.errnum in wanted, f"{what}: {error}"
    else:
        raise AssertionError(f"{what}: succeeded")


def alive(handle):
    handle.pwrite(b"\x33" * 4096, 8192)
    assert handle.pread(4096, 8192) == b"\x33" * 4096


def past_the_end(handle):
    expect({errno.EINVAL}, "read past the end", lambda: handle.pread(4096, SIZE))
    expect({errno.EINVAL}, "read across the end", lambda: handle.pread(8192, SIZE - 4096))
    expect({errno.ENOSPC}, "write past the end", lambda: handle.pwrite(b"x" * 4096, SIZE))
    expect({errno.ENOSPC}, "write across the end", lambda: handle.pwrite(b"x" * 8192, SIZE - 4096))
    expect({errno.ENOSPC}, "zero past the end", lambda: handle.zero(4096, SIZE))
    expect({errno.EINVAL}, "trim past the end", lambda: handle.trim(4096, SIZE))
    expect({errno.EINVAL, errno.ENOSPC}, "an offset that overflows", lambda: handle.zero(4096, 2**63 - 4096))
    expect({errno.EINVAL}, "block status past the end", lambda: handle.block_status(4096, SIZE, lambda *a: 0))
    alive(handle)


def unknown_flags(handle):
    expect({errno.EINVAL}, "unknown flag on read", lambda: handle.pread(4096, 0, 1 << 14))
    expect({errno.EINVAL}, "unknown flag on write", lambda: handle.pwrite(b"x" * 4096, 0, 1 << 14))
    expect({errno.EINVAL}, "unknown flag on flush", lambda: handle.flush(1 << 14))
    expect({errno.EINVAL}, "unknown flag on trim", lambda: handle.trim(4096, 0, 1 << 14))
    alive(handle)


def no_context(uri):
    handle = connect(uri, contexts=())
    expect(
        {errno.EINVAL, errno.ENOTSUP},
        "block status without a context",
        lambda: handle.block_status(4096, 0, lambda *a: 0),
    )
    alive(handle)


def large_requests(handle):
    payload = os.urandom(MAX_PAYLOAD)
    handle.pwrite(payload, 12345)
    assert handle.pread(MAX_PAYLOAD, 12345) == payload
    assert handle.pread(MAX_PAYLOAD, 12345, nbd.CMD_FLAG_DF) == payload
    # Zero and trim carry no payload, so the limit on payloads is not theirs.
    handle.zero(SIZE, 0)
    assert handle.pread(MAX_PAYLOAD, 12345) == bytes(MAX_PAYLOAD)
    handle.pwrite(payload[:MIB], 0)
    handle.trim(SIZE, 0)
    assert handle.pread(MIB, 0) == bytes(MIB)


def status(handle, count, offset):
    found = []

    def extent(context, at, entries, error):
        assert (context, at) == ("base:allocation", offset)
        found.extend(zip(entries[0::2], entries[1::2]))
        return 0

    handle.block_status(count, offset, extent)
    return found


def block_status(handle):
    """A hole, then data; the extents add up and never start beyond what was asked for."""
    handle.trim(SIZE, 0)
    handle.pwrite(os.urandom(MIB), MIB)
    handle.flush()
    extents, at = [], 0
    while at < 3 * MIB:
        for length, flags in status(handle, 3 * MIB - at, at):
            assert length > 0
            extents.append((at, length, flags))
            at += length
    data = sum(length for at, length, flags in extents if flags == 0)
    assert data == MIB, extents
    assert extents[0][2] == nbd.STATE_HOLE | nbd.STATE_ZERO, extents
    # Allocated zeroes read as zeroes and are not a hole.
    handle.zero(MIB, MIB, nbd.CMD_FLAG_NO_HOLE)
    length, flags = status(handle, MIB, MIB)[0]
    assert flags & nbd.STATE_ZERO, (length, flags)
    if handle.can_fast_zero():
        handle.zero(MIB, MIB, nbd.CMD_FLAG_FAST_ZERO)


def fua_and_zero_length(handle):
    handle.pwrite(b"\x44" * 4096, 0, nbd.CMD_FLAG_FUA)
    handle.zero(4096, 4096, nbd.CMD_FLAG_FUA)
    handle.trim(4096, 16384, nbd.CMD_FLAG_FUA)
    assert handle.pread(8192, 0) == b"\x44" * 4096 + bytes(4096)
    # The specification leaves a length of zero undefined; the connection must survive it.
    for request in (lambda: handle.pwrite(b"", 0), lambda: handle.trim(0, 0), lambda: handle.zero(0, 0)):
        try:
            request()
        except nbd.Error as error:
            assert error.errnum in {errno.EINVAL, errno.ENOSPC}, error
    alive(handle)


def odd_size(uri):
    """A volume need not end on a block."""
    handle = connect(uri)
    assert handle.get_size() == 1000001
    handle.pwrite(b"end", 1000001 - 3)
    assert handle.pread(5, 1000001 - 5) == b"\0\0end"
    expect({errno.ENOSPC}, "write across an odd end", lambda: handle.pwrite(b"xx", 1000000))
    expect({errno.EINVAL}, "read across an odd end", lambda: handle.pread(2, 1000000))
    handle.zero(1000001, 0)
    assert handle.pread(3, 1000001 - 3) == bytes(3)


def names(uri):
    """Unknown names are refused, long ones too, and a refusal does not end the negotiation."""
    handle = nbd.NBD()
    handle.set_opt_mode(True)
    handle.connect_uri(uri)
    for name in ("nobody", "n" * 4096, "../demo", "demo/", "\u00e9"):
        handle.set_export_name(name)
        expect({errno.ENOENT, errno.EINVAL, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTSUP}, f"name {name[:20]!r}", handle.opt_info)
    handle.set_export_name("demo")
    handle.opt_go()
    alive(handle)


def concurrent_on_one_connection(handle):
    """Many requests in flight on one connection, answered in any order, each with its own data."""
    buffers = [nbd.Buffer.from_bytearray(bytearray([n]) * 4096) for n in range(64)]
    cookies = [handle.aio_pwrite(buffer, n * 4096) for n, buffer in enumerate(buffers)]
    while handle.aio_in_flight():
        handle.poll(-1)
    assert all(handle.aio_command_completed(cookie) for cookie in cookies)
    for n in range(64):
        assert handle.pread(4096, n * 4096) == bytes([n]) * 4096


def main():
    uri, odd_uri = sys.argv[1:]
    handle = connect(uri)
    past_the_end(handle)
    unknown_flags(handle)
    no_context(uri)
    large_requests(handle)
    block_status(handle)
    fua_and_zero_length(handle)
    odd_size(odd_uri)
    names(uri)
    concurrent_on_one_connection(handle)
    handle.shutdown()


main()
