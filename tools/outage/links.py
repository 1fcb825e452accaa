"""The network between nodes: a namespace each, tied to one switch, so that any direction between two can be cut.

A packet in a direction that is cut goes to a hardware address that nobody has: it is lost, and the sender gets no error.
"""

import os
import shutil
import subprocess

from outage.wire import Wire

# Requests of the client a second. Over a bad wire it leaves room: one that writes as fast as the copies take it keeps a copy that
# comes back from ever being complete, since that gets no more than they do.
RATE_MAX = 100_000
RATE_MAX_BAD = 25
NOBODY = "02:00:00:00:00:ff"
PORT = 10809


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Loopback:
    """Where namespaces cannot be made all nodes share this machine's loopback, and nothing can be cut."""

    can_cut = False
    rate_max = RATE_MAX

    def add(self, _name):
        """Where a new node listens."""
        return "127.0.0.1:0"

    def command(self, _name):
        """What its command begins with."""
        return []

    def turn(self, _rng):
        """What its weather turns to, for people."""
        return ""

    def remove(self):
        pass


class Bridge:
    """What the devices of the nodes are tied to: the kernel's own switch, which loses nothing."""

    def __init__(self):
        self.hub = f"silt-{os.getpid()}-hub"
        try:
            ip("netns", "add", self.hub)
            ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.hub, "link", "set", "bridge", "up")
        except BaseException:
            self.end()
            raise

    def turn(self, _rng):
        return ""

    def add(self, namespace):
        port = f"to-{namespace.rpartition('-')[2]}"
        ip("-n", self.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.hub, "link", "set", port, "master", "bridge", "up")

    def end(self):
        subprocess.run(["ip", "netns", "delete", self.hub], stderr=subprocess.DEVNULL, check=False)


class Links:
    """Namespaces of this process, gone after `remove`."""

    can_cut = True

    def __init__(self, switch):
        self.switch = switch
        self.rate_max = RATE_MAX_BAD if isinstance(switch, Wire) else RATE_MAX
        self.names = []

    def namespace(self, name):
        return f"silt-{os.getpid()}-{name}"

    def address(self, name):
        return f"198.18.0.{self.names.index(name) + 1}"

    def add(self, name):
        self.names.append(name)
        inside = self.namespace(name)
        ip("netns", "add", inside)
        self.switch.add(inside)
        ip("-n", inside, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        ip("-n", inside, "link", "set", "lo", "up")
        ip("-n", inside, "link", "set", "eth0", "up")
        return f"{self.address(name)}:{PORT}"

    def command(self, name):
        return ["nsenter", f"--net=/run/netns/{self.namespace(name)}"]

    def turn(self, rng):
        return self.switch.turn(rng)

    def cut(self, sender, receivers):
        """What `sender` sends to these is lost."""
        for receiver in receivers:
            inside, address = self.namespace(sender), self.address(receiver)
            ip("-n", inside, "neighbour", "replace", address, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0")

    def part(self, name, others):
        """Nothing passes between a node and the others."""
        self.cut(name, others)
        for other in others:
            self.cut(other, [name])

    def heal(self):
        for name in self.names:
            ip("-n", self.namespace(name), "neighbour", "flush", "nud", "permanent", "dev", "eth0")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], stderr=subprocess.DEVNULL, check=False)
        self.switch.end()


def make(seed, weather):
    """Links if this machine has what they take, else loopback and why. With a weather, by a wire with a seed."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nsenter"):
        return Loopback(), "needs root, ip and nsenter"
    try:
        return Links(Wire(seed, weather) if weather else Bridge()), None
    except subprocess.CalledProcessError as error:
        return Loopback(), f"no network namespaces: {error.stderr.decode().strip()}"
