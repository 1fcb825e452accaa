"""Siltstone as a cluster of nodes on this machine, with one replicated volume, measured like any other server."""

import pathlib
import re
import socket
import subprocess
import tempfile
import time

from . import nbd
from .control import Control, Refused
from .places import Loopback
from .server import ServerFailed, Siltstone

VOLUME = "bench"
BLOCK_BYTES = 4096
LOOK_SECONDS = 0.02
# A node that restarts may have to be given everything.
HEALTHY_SECONDS_MAX = 3600
MEMBERS_SECONDS_MAX = 60
CONTENT = re.compile(r"INFO content volume=\S+ node=\S+ blocks=(\d+) moved=(\d+) bytes=(\d+)")


def free_ports(count):
    """UDP ports that nobody had a moment ago, all different."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Node(Siltstone):
    """One data directory and its daemon. Its token is of use once; later starts say nothing of it."""

    def __init__(self, number, work, program, options, places):
        super().__init__(f"n{number}", work, 0, program, options)
        self.number = number
        self.places = places
        self.token = None

    def command(self):
        join = ["--join", f"@{self.token}", "--node-name", self.name] if self.token else []
        listen = ["--no-tcp", "--listen", self.places.address(self.number)]
        return [*self.places.command(self.number), self.program, "serve", "--data", self.data_link(), *listen, *join, *self.options]

    def wait_started(self):
        seconds = super().wait_started()
        self.token = None
        return seconds

    def silt(self, *words):
        """What a command of this node prints."""
        done = subprocess.run(
            [self.program, *words, "--data", self.data_link(), "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerFailed(f"{self.name}: silt {' '.join(words)}: {done.stderr}\n{self.log()}")
        return done.stdout

    def ask(self, verb, **fields):
        control = Control(self.socket.parent / "control.sock")
        try:
            return control.ask(verb, **fields)
        finally:
            control.close()

    def sent_contents(self):
        """(blocks looked at, blocks moved, bytes moved) of each transfer of content that this node has sent."""
        log = (self.directory / "server.log").read_text(encoding="utf-8", errors="replace")
        return [tuple(int(count) for count in counts) for counts in CONTENT.findall(log)]


class Cluster:
    """Stands in for a `Server`: what is asked of that goes to the node that is the volume's primary."""

    keeps_data = True
    environment = {}

    def __init__(self, name, work, size_bytes, program, options=(), node_count=3, replicas=3, places=None):
        self.name = name
        self.size_bytes = size_bytes
        self.replicas = replicas
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.", dir=work))
        places = places or Loopback(free_ports(node_count))
        self.nodes = [Node(number, self.directory, program, options, places) for number in range(1, node_count + 1)]

    def prepare(self):
        """Makes the cluster and the empty volume; all nodes run then."""
        first, *others = self.nodes
        first.start()
        first.silt("cluster", "init", "--name", first.name)
        for node in others:
            node.token = node.directory / "token"
            node.token.write_text(first.silt("cluster", "token"), encoding="ascii")
            node.start()
        self.wait(self.all_are_members, "members", MEMBERS_SECONDS_MAX)
        first.silt("create", VOLUME, "--size", str(self.size_bytes), "--replicas", str(self.replicas))
        self.wait_healthy()

    def all_are_members(self):
        nodes = self.nodes[0].ask("cluster_status")["nodes"]
        return [node["standing"] for node in nodes if node["reachable"]] == ["member"] * len(self.nodes)

    def start(self):
        """Starts the nodes that do not run, all at once as one alone is no majority, and waits until all is well."""
        started = time.monotonic()
        starting = [node for node in self.nodes if node.process is None]
        for node in starting:
            node.launch()
        for node in starting:
            node.wait_started()
        self.wait_healthy()
        self.read_block()
        return time.monotonic() - started

    def read_block(self):
        """Returns when the volume is served: after a start of all nodes it has to have a new epoch first."""
        client = nbd.Client(self.primary.socket, VOLUME)
        client.read(0, BLOCK_BYTES)
        client.close()

    def stop(self):
        for node in self.nodes:
            node.ask_to_stop()
        for node in self.nodes:
            node.wait_stopped()

    def remove(self):
        for node in self.nodes:
            node.remove()

    def log(self):
        return "\n".join(f"{node.name}: {node.log()}" for node in self.nodes)

    @property
    def running(self):
        return [node for node in self.nodes if node.process is not None]

    @property
    def primary(self):
        return self.of_role("primary")[0]

    @property
    def uri(self):
        return f"nbd+unix:///{VOLUME}?socket={self.primary.socket}"

    @property
    def fio_options(self):
        return ["--ioengine=nbd", f"--uri={self.uri}"]

    @property
    def pids(self):
        """By what each does for the volume."""
        backups = {f"backup {count}": node.pid for count, node in enumerate(self.of_role("backup"), start=1)}
        return {"primary": self.primary.pid, **backups}

    def replication(self):
        return self.running[0].ask("info", name=VOLUME)["replication"]

    def of_role(self, role):
        """The nodes whose replica is that: primary, backup or catching_up."""
        names = [replica["node_name"] for replica in self.replication()["replicas"] if replica["role"] == role]
        return [node for node in self.nodes if node.name in names]

    @property
    def without_replica(self):
        names = [replica["node_name"] for replica in self.replication()["replicas"]]
        return [node for node in self.nodes if node.name not in names]

    def is_healthy(self):
        """True with as many complete copies as there are to be, none of them on a node that does not run."""
        replication = self.replication()
        return replication["health"] == "healthy" and replication["replicas_wanted"] == self.replicas == len(replication["replicas"])

    def wait_healthy(self):
        """Returns the seconds that it took."""
        return self.wait(self.is_healthy, "a healthy volume", HEALTHY_SECONDS_MAX)

    def wait(self, is_so, what, seconds_max):
        """Asks again and again. A node that is just coming up may not know of the volume yet, nor who leads."""
        started = time.monotonic()
        while not answered(is_so):
            if time.monotonic() - started > seconds_max:
                raise ServerFailed(f"{self.name} waited in vain for {what}: {self.log()}")
            time.sleep(LOOK_SECONDS)
        return time.monotonic() - started

    def sent_contents(self):
        return [content for node in self.nodes for content in node.sent_contents()]


def answered(question):
    try:
        return question()
    except (OSError, EOFError, Refused):
        return False
