"""Nodes of one cluster, each a daemon with a data directory, and the volume they hold together."""

import contextlib
import select
import shutil
import signal
import subprocess
import time
import types

from churn.node import Node, Refused

VOLUME = "vm"
SIZE_BYTES = 32 << 20
REPLICAS = 3
# Of a daemon's log; what the consensus library tells of itself is left out.
LAST_LINES = 12
CONSENSUS_WORDS = ("openraft", "raft", "Raft", "RPCError", "vote", "heartbeat", "HeartBeat", "AppendEntries")
START_SECONDS = 60


class Member(Node):
    """A node: running, stopped or frozen."""

    def __init__(self, silt, name, scratch, links):
        super().__init__(silt, types.SimpleNamespace(data=scratch / name), scratch / f"{name}.log")
        self.name = name
        self.log_path = scratch / f"{name}.log"
        self.command = links.command(name)
        self.address = links.add(name)
        self.is_new = True

    def spawn(self, *options):
        """Starts the daemon and does not wait for it."""
        options = [*options, "--listen", self.address] if self.is_new else options
        serve = ["serve", "--data", self.disk.data, "--no-tcp", "--memory", "128M", "--json"]
        self.is_new = False
        self.daemon = subprocess.Popen(
            [*self.command, self.silt, *serve, *options], stdout=subprocess.PIPE, stderr=self.log
        )

    def wait_ready(self):
        ready, _, _ = select.select([self.daemon.stdout], [], [], START_SECONDS)
        line = self.daemon.stdout.readline() if ready else b""
        assert b'"ready"' in line, f"{self.name} does not start: {line!r}, status {self.daemon.poll()}"

    def start(self, *options):
        self.spawn(*options)
        self.wait_ready()

    def stop(self):
        super().stop()
        self.daemon = None

    def kill(self):
        super().kill()
        self.daemon = None
        self.forget_handles()

    def freeze(self):
        self.daemon.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.daemon.send_signal(signal.SIGCONT)

    def is_running(self):
        return self.daemon is not None

    def ask(self, *words):
        """Runs a command once."""
        return self.result(words, self.begin(*words))

    def replication(self, volume=VOLUME):
        return self.ask("info", volume)["replication"]

    def primary(self, volume=VOLUME):
        """The name of the node that orders what is written, as this node sees it, or None."""
        roles = {replica["role"]: replica["node_name"] for replica in self.replication(volume)["replicas"]}
        return roles.get("primary")

    def last_lines(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            lines = [line for line in log if not any(word in line for word in CONSENSUS_WORDS)]
        return "".join(f"    {line}" for line in lines[-LAST_LINES:])


class Cluster:
    """The members, by name. `n1` makes the cluster, has its key and stays."""

    def __init__(self, silt, scratch, links):
        self.silt = silt
        self.scratch = scratch
        self.links = links
        self.members = {}
        self.gone = []
        self.volumes = [VOLUME]
        # What every wait asks too: whether a client has met an error meanwhile.
        self.check = lambda: None

    def wait_until(self, what, is_so, seconds=60, seen=()):
        """Waits until something is so; a command that fails meanwhile says only that it is not yet.

        `seen` is what a failure tells of what was found instead.
        """
        deadline = time.monotonic() + seconds
        why = ""
        while True:
            self.check()
            try:
                if is_so():
                    return
            except Refused as refused:
                why = f"; last: {refused}"
            instead = "".join(f"; seen: {state}" for state in seen)
            assert time.monotonic() < deadline, f"gave up after {seconds} s waiting until {what}{why}{instead}"
            time.sleep(0.05)

    def new_member(self):
        name = f"n{len(self.members) + len(self.gone) + 1}"
        self.members[name] = Member(self.silt, name, self.scratch, self.links)
        return self.members[name]

    def found(self):
        """A cluster of three and its volume."""
        first = self.new_member()
        first.start()
        first.run("cluster", "init", "--name", first.name)
        for _ in range(REPLICAS - 1):
            self.join()
        first.run("create", VOLUME, "--size", str(SIZE_BYTES), "--replicas", str(REPLICAS))
        self.wait_healthy(first)

    def join(self):
        """A new node, once all of the cluster see it."""
        return self.admit(self.new_member())

    def admit(self, member):
        token = self.scratch / f"{member.name}.token"
        token.write_text(self.members["n1"].run("cluster", "token")["token"], encoding="ascii")
        member.start("--join", f"@{token}", "--node-name", member.name)
        for other in self.running():
            seen = f"{other.name} sees {member.name} as a member"
            self.wait_until(seen, lambda other=other: self.sees(other, member))
        return member

    @staticmethod
    def sees(observer, member):
        nodes = {node["name"]: node for node in observer.ask("node", "ls")["nodes"]}
        node = nodes.get(member.name)
        return node is not None and node["reachable"] and node["standing"] == "member"

    def running(self):
        return [member for member in self.members.values() if member.is_running()]

    def others(self, *members):
        return [member for member in self.running() if member not in members]

    def dismiss(self, member):
        """A node that is in the cluster no more, running or not."""
        del self.members[member.name]
        self.gone.append(member)

    def lose(self, member):
        """Its process and its data are gone."""
        member.kill()
        shutil.rmtree(member.disk.data)
        self.dismiss(member)

    def wait_healthy(self, observer):
        """All copies are complete, on nodes that are reached."""
        seen = []

        def is_healthy():
            replication = observer.replication()
            seen[:] = [f"{replication['health']}, {replication['replicas']}"]
            backups = [replica for replica in replication["replicas"] if replica["role"] in ("primary", "backup")]
            is_reached = all(replica["reachable"] for replica in backups)
            return replication["health"] == "healthy" and len(backups) == REPLICAS and is_reached

        self.wait_until(f"{VOLUME} is healthy, as {observer.name} sees it", is_healthy, seen=seen)

    def move_primary(self, member):
        """The primary follows the newest client: opens each volume at a node and leaves it."""
        for volume in self.volumes:
            member.close(volume)
            member.open(volume)
            seen = f"{member.name} is primary of {volume}, as it sees itself"
            self.wait_until(seen, lambda volume=volume: member.primary(volume) == member.name)
            member.close(volume)

    def end(self):
        """Nothing runs afterwards, whatever state it is in."""
        with contextlib.ExitStack() as ending:
            for member in [*self.members.values(), *self.gone]:
                ending.callback(member.end)

    def last_lines(self):
        return "\n".join(f"{member.name}:\n{member.last_lines()}" for member in self.members.values())
