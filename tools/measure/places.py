"""Places for the nodes of a cluster on one machine, so that what comes to each can be counted: network namespaces on one bridge.

It takes root and `ip`. Clients need no network: a daemon's Unix socket is reached from anywhere. The addresses are from the
block that RFC 2544 keeps for measurements.
"""

import os
import pathlib
import shutil
import subprocess
import sys

NETWORK = "198.18.0"


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


class Places:
    """A `with` block: outside of it there is nothing of them."""

    def __init__(self, count):
        if os.geteuid() != 0 or not shutil.which("ip"):
            sys.exit("counting what comes to a node needs root and ip (tools/packages)")
        # Names of interfaces have 15 bytes.
        self.bridge = f"sb{os.getpid()}"
        self.names = [f"{self.bridge}n{number}" for number in range(1, count + 1)]

    def __enter__(self):
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("link", "set", self.bridge, "up")
            for number, name in enumerate(self.names, start=1):
                ip("netns", "add", name)
                ip("link", "add", name, "type", "veth", "peer", "name", "net", "netns", name)
                ip("link", "set", name, "master", self.bridge, "up")
                ip("-n", name, "address", "add", f"{NETWORK}.{number}/24", "dev", "net")
                ip("-n", name, "link", "set", "net", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_):
        self._remove()

    def address(self, number):
        """Where the node listens; nodes count from 1."""
        return f"{NETWORK}.{number}:10809"

    def command(self, number):
        """What a node's command line begins with. It becomes the node: the process id is the node's."""
        return ["ip", "netns", "exec", self.names[number - 1]]

    def received_bytes(self, number):
        """All that ever came to the node, with the headers of packets and frames: what its end of the cable was sent."""
        return int(pathlib.Path(f"/sys/class/net/{self.names[number - 1]}/statistics/tx_bytes").read_text(encoding="ascii"))

    def _remove(self):
        # The cables go with the namespaces.
        for words in [*(["netns", "del", name] for name in self.names), ["link", "del", self.bridge]]:
            subprocess.run(["ip", *words], check=False, stderr=subprocess.DEVNULL)


class Loopback:
    """Places that are told apart by their ports alone; nothing is counted."""

    def __init__(self, ports):
        self.ports = ports

    def address(self, number):
        return f"127.0.0.1:{self.ports[number - 1]}"

    def command(self, _number):
        return []
