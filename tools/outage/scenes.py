"""What befalls a cluster, and what its client must notice of it: a pause, and nothing else."""

import collections
import contextlib
import statistics
import subprocess
import time

import nbd
from churn.node import Refused

from outage.cluster import REPLICAS, SIZE_BYTES, VOLUME
from outage.load import BLOCK, Image, Load, content

PAUSE_SECONDS_MAX = 20
FROZEN_SECONDS = 6
# For so long a client that may get nothing is watched.
WATCH_SECONDS = 3
OPENED_TWICE = 8
# About as long as it takes to hand a volume over.
OPENED_APART_SECONDS = (0.005, 0.03)
GETS_SECONDS = 10
# These have pauses of their own making.
UNMEASURED = ("two_stopped", "home_killed", "all_killed", "home_cut_off", "link_cut")
# After so long a node that lost its peers can serve nothing any more.
LEASE_SECONDS = 3


class Outages:
    """One cluster, and one client that never stops; it is at `home`, and so are the tenants."""

    def __init__(self, cluster, rng, tenants):
        self.cluster = cluster
        self.rng = rng
        self.tenants = tenants
        self.image = Image(SIZE_BYTES // BLOCK)
        self.home = None
        self.load = None
        self.snapshots = {}
        self.next_version = 1
        self.pauses = []
        self.leaderless = 0.0
        self.counts = collections.Counter()

    def begin(self):
        self.cluster.found()
        self.look_around()
        for tenant in self.tenants:
            tenant.create(self.cluster.members["n1"])
            self.cluster.volumes.append(tenant.volume)
        self.settle_at(self.cluster.members["n2"])

    def look_around(self):
        """What the commands say of three nodes and a volume."""
        for member in self.cluster.running():
            nodes = member.ask("node", "ls")["nodes"]
            assert len(nodes) == REPLICAS and all(node["replicas"] == 1 for node in nodes), nodes
            assert sum(node["primaries"] for node in nodes) == 1, nodes
            listed = member.ask("ls")["volumes"]
            shown = member.ask("info", VOLUME)
            assert [volume["name"] for volume in listed] == [VOLUME], listed
            for volume in (*listed, shown):
                assert volume["size_bytes"] == SIZE_BYTES, volume
                assert volume["replication"]["replicas_wanted"] == REPLICAS, volume

    # The client

    def settle_at(self, member, doubts=None):
        """Connects the client to a node. A block with doubts holds what may be there, and is certain then."""
        self.home = member
        self.image.verify(member.open(VOLUME), doubts)
        member.close(VOLUME)
        uri = f"nbd+unix:///{VOLUME}?socket={member.disk.data}/nbd.sock"
        self.load = Load(uri, self.image, self.rng, self.next_version, self.cluster.links.rate_max)
        for tenant in self.tenants:
            tenant.settle_at(member)
        self.cluster.check = self.check_clients

    def check_clients(self):
        self.load.check()
        for tenant in self.tenants:
            tenant.check()

    def leave(self):
        """Disconnects the client; what may be in doubt is told."""
        doubts = self.load.end()
        self.cluster.check = lambda: None
        self.next_version = self.load.version + 1
        self.counts["requests"] += self.load.answered_count
        self.load.check()
        self.load = None
        return doubts

    def settle_elsewhere(self):
        """The client moves to a node that was not its own, where there is more than one."""
        self.load.pause()
        self.leave()
        for tenant in self.tenants:
            tenant.leave()
        self.settle_at(self.rng.choice(self.cluster.others(self.home)))

    def wait_progress(self, seconds=PAUSE_SECONDS_MAX):
        """Until a change was answered that was sent from now on."""
        enough = self.load.changes_count + 20
        self.cluster.wait_until("the client goes on", lambda: self.load.changes_count >= enough, seconds)

    def act(self, scene):
        """One scene, and what must be so after each: healthy, everything there, and a bounded pause."""
        print(f"{scene.__name__:18}{self.cluster.links.turn(self.rng)}", end="", flush=True)
        self.wait_progress()
        self.load.take_pause()
        began = time.monotonic()
        scene()
        self.wait_progress()
        self.cluster.wait_healthy(self.home)
        pause = self.load.take_pause()
        self.verify_at_home()
        if scene.__name__ not in UNMEASURED:
            self.pauses.append(pause)
        self.counts[scene.__name__] += 1
        took = time.monotonic() - began
        print(f" {took:6.1f} s, longest answer {pause:5.2f} s", flush=True)
        assert pause < PAUSE_SECONDS_MAX, f"{scene.__name__}: an answer took {pause:.1f} s"

    def take_snapshot(self, name):
        """Of what there is now; it has to be the same in the end, on nodes that join later too."""
        self.load.pause()
        try:
            self.home.run("snap", "create", f"{VOLUME}@{name}")
            self.snapshots[name] = self.image.copy()
        except Refused as refused:
            if refused.kind != "unsupported":
                raise
            print(refused, flush=True)
        self.load.resume()

    def verify_at_home(self):
        self.load.pause()
        self.image.verify(self.home.open(VOLUME))
        self.home.close(VOLUME)
        self.load.resume()

    def watch_stalled(self, who):
        """The client gets no answer and no error."""
        answered = self.load.answered_count
        time.sleep(WATCH_SECONDS)
        self.load.check()
        assert self.load.answered_count == answered, f"{who} answers"

    def away(self):
        """A node that the client is not on."""
        return self.rng.choice(self.cluster.others(self.home))

    # Nodes that stop

    def primary_killed(self):
        victim = self.away()
        self.cluster.move_primary(victim)
        self.wait_progress()
        victim.kill()
        self.wait_progress()
        victim.start()

    def opened_twice(self):
        """Clients at two nodes open the volume at nearly the same time: the newer one gets it.

        What the two nodes ask for may arrive in the other order, so a few need not.
        """
        overtaken = 0
        for _ in range(OPENED_TWICE):
            older, newer = self.rng.sample(self.cluster.running(), 2)
            newer.close(VOLUME)
            older.close(VOLUME)
            older.open(VOLUME)
            time.sleep(self.rng.uniform(*OPENED_APART_SECONDS))
            newer.open(VOLUME)
            overtaken += not self.gets_volume(newer)
            self.wait_progress()
            newer.close(VOLUME)
            older.close(VOLUME)
        assert overtaken <= OPENED_TWICE // 4, f"{overtaken} of {OPENED_TWICE} newer clients did not get {VOLUME}"

    def gets_volume(self, member):
        """Whether a node becomes primary, before long."""
        deadline = time.monotonic() + GETS_SECONDS
        while time.monotonic() < deadline:
            self.cluster.check()
            with contextlib.suppress(Refused):
                if member.primary() == member.name:
                    return True
            time.sleep(0.05)
        return False

    def backup_killed(self):
        victim = self.away()
        self.cluster.move_primary(self.home)
        victim.kill()
        self.wait_progress()
        victim.start()

    def primary_frozen(self):
        victim = self.away()
        self.cluster.move_primary(victim)
        victim.freeze()
        time.sleep(FROZEN_SECONDS)
        self.wait_progress()
        victim.thaw()

    def rolling_restart(self):
        for member in self.cluster.others(self.home):
            self.cluster.move_primary(member)
            member.stop()
            self.wait_progress()
            member.start()
            self.cluster.wait_healthy(self.home)

    def two_stopped(self):
        """The client waits for as long as they are away."""
        others = self.cluster.others(self.home)
        for member in others:
            member.stop()
        time.sleep(LEASE_SECONDS)
        self.watch_stalled("one node of three")
        for member in others:
            member.spawn()
        for member in others:
            member.wait_ready()
        # Not a pause of ours to bound: it is as long as they were away.
        self.wait_progress()
        self.load.take_pause()

    def all_killed(self):
        """The client connects again and finds all that was answered."""
        members = self.cluster.running()
        doubts = self.lose_connection(members)
        for member in members:
            member.spawn()
        for member in members:
            member.wait_ready()
        self.settle_at(self.home, doubts)

    def home_killed(self):
        """The client connects to another node and finds all that was answered."""
        lost = self.home
        doubts = self.lose_connection([lost])
        # What its node has handed on may still be done for a moment.
        time.sleep(1)
        self.settle_at(self.rng.choice(self.cluster.running()), doubts)
        self.wait_progress()
        lost.start()

    def lose_connection(self, members):
        """Kills nodes, the client's own too, some time after a flush."""
        enough = self.load.flushes_count + 5
        self.cluster.wait_until("some flushes are answered", lambda: self.load.flushes_count >= enough)
        self.load.expect_loss()
        for tenant in self.tenants:
            tenant.expect_loss()
        for member in members:
            member.kill()
        for tenant in self.tenants:
            tenant.lose_home()
        return self.leave()

    # Nodes that come and go

    def node_lost(self):
        victim = self.rng.choice(self.expendable())
        self.cluster.lose(victim)
        self.home.run("node", "rm", victim.name, "--lost")
        self.cluster.join()
        self.wait_gone(victim)

    def node_drained(self):
        victim = self.rng.choice(self.expendable())
        self.cluster.join()
        self.home.run("node", "drain", victim.name)
        self.cluster.wait_until(f"{victim.name} holds nothing", lambda: self.node(victim)["replicas"] == 0)
        self.cluster.wait_healthy(self.home)
        self.home.run("node", "rm", victim.name)
        victim.stop()
        self.cluster.dismiss(victim)
        self.wait_gone(victim)

    def expendable(self):
        """Nodes that may go: the first has the key that others join with."""
        return self.cluster.others(self.home, self.cluster.members["n1"])

    def node(self, member):
        nodes = {node["name"]: node for node in self.home.ask("node", "ls")["nodes"]}
        return nodes.get(member.name)

    def wait_gone(self, member):
        self.cluster.wait_until(f"{member.name} is no node", lambda: self.node(member) is None)

    # Networks that are cut

    def primary_cut_off(self):
        """The others go on without it; who is connected to it waits, and gets nothing old."""
        primary = self.away()
        self.cluster.move_primary(primary)
        stranded = primary.open(VOLUME)
        before = self.image.versions[:]
        self.cluster.links.part(primary.name, self.names_but(primary))
        self.wait_progress()
        self.wait_progress()
        self.load.pause()
        changed = next(block for block, version in enumerate(before) if self.image.versions[block] != version)
        written, self.load.version = changed + 1, self.load.version + 1
        found = nbd.Buffer(BLOCK)
        ours = nbd.Buffer.from_bytearray(bytearray(content(written, self.load.version)))
        cookies = [stranded.aio_pread(found, changed * BLOCK), stranded.aio_pwrite(ours, written * BLOCK)]
        self.answered(stranded, cookies, WATCH_SECONDS)
        assert len(cookies) == 2, "a node that is cut off answers"
        self.cluster.links.heal()
        self.answered(stranded, cookies, PAUSE_SECONDS_MAX)
        assert not cookies, "a node that was cut off never answers"
        self.image.complain(changed, bytes(found.to_bytearray()))
        self.image.versions[written] = self.load.version
        primary.close(VOLUME)
        self.load.resume()

    @staticmethod
    def answered(handle, cookies, seconds):
        """Takes those that are answered within this time out of `cookies`."""
        deadline = time.monotonic() + seconds
        while cookies and time.monotonic() < deadline:
            handle.poll(100)
            cookies[:] = [cookie for cookie in cookies if not handle.aio_command_completed(cookie)]

    def home_cut_off(self):
        """The client's own node is alone, and was primary: its client waits until it is back."""
        other = self.away()
        self.cluster.move_primary(self.home)
        self.cluster.links.part(self.home.name, self.names_but(self.home))
        self.cluster.wait_until("the others go on", lambda: other.primary() != self.home.name)
        self.watch_stalled("a node that is cut off")
        self.cluster.links.heal()

    def link_cut(self):
        """The client's node and the primary do not reach each other; the third reaches both."""
        primary = self.away()
        self.cluster.move_primary(primary)
        self.cluster.links.part(self.home.name, [primary.name])
        time.sleep(FROZEN_SECONDS)
        self.cluster.links.heal()

    def primary_unheard(self):
        """It hears everybody, and nobody hears it."""
        primary = self.away()
        self.cluster.move_primary(primary)
        self.cluster.links.cut(primary.name, self.names_but(primary))
        self.stay_cut()

    def primary_deaf(self):
        """Everybody hears it, and it hears nobody."""
        primary = self.away()
        self.cluster.move_primary(primary)
        for other in self.names_but(primary):
            self.cluster.links.cut(other, [primary.name])
        self.stay_cut()

    def stay_cut(self):
        time.sleep(FROZEN_SECONDS)
        self.wait_progress()
        self.cluster.links.heal()

    def member_returned(self):
        """One that was cut off stood for election all the while. When it is back, for how long does nobody lead?"""
        home = self.home
        victim = next(member for member in self.cluster.others(home) if member.name != self.leader())
        self.cluster.links.part(victim.name, self.names_but(victim))
        time.sleep(FROZEN_SECONDS)
        self.cluster.wait_until("somebody leads", lambda: self.leader() is not None)
        self.cluster.links.heal()
        last_led = deadline = time.monotonic()
        deadline += WATCH_SECONDS
        while time.monotonic() < deadline or not self.cluster.sees(home, victim):
            self.cluster.check()
            now = time.monotonic()
            if self.leader() is not None:
                self.leaderless = max(self.leaderless, now - last_led)
                last_led = time.monotonic()
            assert now - last_led < PAUSE_SECONDS_MAX, "nobody leads"

    def leader(self):
        """The name of the node that leads, as the client's own sees it, or None."""
        status = self.home.ask("cluster", "status")
        names = {node["id"]: node["name"] for node in status["nodes"]}
        return names.get(status["leader"])

    def names_but(self, member):
        return [other.name for other in self.cluster.others(member)]

    # The end

    def compare_everywhere(self):
        """Every node gives the same, and it is what was written."""
        self.load.pause()
        self.leave()
        for member in self.cluster.running():
            self.compare_copy(member, VOLUME, self.image)
            for name, image in self.snapshots.items():
                self.compare_copy(member, f"{VOLUME}@{name}", image)
        for tenant in self.tenants:
            tenant.leave()
            for member in self.cluster.running():
                tenant.compare_at(member)
            self.counts[f"rounds of {tenant.volume}"] = tenant.rounds_count
        self.tenants = []
        self.settle_at(self.home)

    def compare_copy(self, member, export, image):
        copy = self.cluster.scratch / "copy.img"
        uri = f"nbd+unix:///{export}?socket={member.disk.data}/nbd.sock"
        subprocess.run(["nbdcopy", uri, copy], check=True, timeout=120)
        assert copy.stat().st_size == SIZE_BYTES, f"{export} through {member.name} has {copy.stat().st_size} bytes"
        image.compare(0, copy.read_bytes())
        copy.unlink()

    def summary(self):
        done = " ".join(f"{name}={count}" for name, count in sorted(self.counts.items()))
        if self.pauses:
            done += f"; pauses: median {statistics.median(self.pauses):.2f} s, worst {max(self.pauses):.2f} s"
        if self.leaderless:
            done += f"; longest without a leader after a return {self.leaderless:.2f} s"
        return done
