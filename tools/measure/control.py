"""Asks a node over its control socket (docs/protocol.md), without the time that starting a command takes."""

import json
import socket
import struct


class Refused(Exception):
    """The node answered with a failure."""


class Control:
    """One connection; requests one after the other."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        versions = {"min": 1, "max": 1}
        self._send({"type": "hello", "protocol": "silt-control", "versions": versions, "program": "bench"})
        self._receive()

    def ask(self, verb, **fields):
        """The answer to a request."""
        self._send({"type": "request", "request": {"verb": verb, **fields}})
        while True:
            message = self._receive()
            if message["type"] == "failed":
                raise Refused(f"{verb}: {message['message']}")
            if message["type"] == "answer":
                return message["answer"]

    def close(self):
        self.socket.close()

    def _send(self, message):
        payload = json.dumps(message).encode()
        self.socket.sendall(struct.pack("<IB3x", len(payload), 1) + payload)

    def _receive(self):
        length, _ = struct.unpack("<IB3x", self._exactly(8))
        return json.loads(self._exactly(length))

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError("the node closed the connection")
            data += part
        return data
