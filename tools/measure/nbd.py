"""A client of one NBD export: one connection, one request at a time, simple replies only."""

import os
import socket
import struct

OPTION_MAGIC, REQUEST_MAGIC = b"IHAVEOPT", 0x25609513
OPT_GO, REPLY_ACK, REPLY_INFO = 7, 1, 3
CMD_READ, CMD_WRITE, CMD_FLUSH = 0, 1, 3
FIXED_NO_ZEROES = 3


class Client:
    """A connection to an export; it raises OSError or EOFError when the server refuses or goes."""

    def __init__(self, path, export):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self._receive(18)
        name = export.encode()
        body = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">I", FIXED_NO_ZEROES) + OPTION_MAGIC + struct.pack(">II", OPT_GO, len(body)) + body)
        while True:
            _, _, kind, length = struct.unpack(">QIII", self._receive(20))
            self._receive(length)
            if kind == REPLY_ACK:
                return
            if kind != REPLY_INFO:
                raise OSError(f"the server refused the volume: {kind:#x}")

    def read(self, offset, length):
        self._ask(CMD_READ, offset, length)
        return self._receive(length)

    def write(self, offset, data):
        self._ask(CMD_WRITE, offset, len(data), data)

    def flush(self):
        self._ask(CMD_FLUSH, 0, 0)

    def close(self):
        self.socket.close()

    def _ask(self, command, offset, length, data=b""):
        self.socket.sendall(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, command, 1, offset, length) + data)
        _, error, _ = struct.unpack(">IIQ", self._receive(16))
        if error:
            raise OSError(error, os.strerror(error))

    def _receive(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError("the server closed the connection")
            data += part
        return data
