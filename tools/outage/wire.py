"""A wire between nodes that is not to be relied on: a switch in user space, whose ports are the nodes' network devices.

What is sent by UDP is lost, repeated, held back, and overtaken by what was sent later, as a seed decides. Everything else, which
is how nodes find each other's addresses, passes. The switch is a process of its own, so that it does not wait for the client.
"""

import collections
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x0002 | 0x1000
FRAME_BYTES_MAX = 2048
BROADCAST = b"\xff" * 6
# Frames on their way at most, as in the queue of a real switch: what comes then is lost.
QUEUE_MAX = 4096

# How bad it is. Shares are of datagrams; times in seconds. `late` ones come so much later that others overtake them.
Weather = collections.namedtuple("Weather", "name loss repeat late delay late_delay", defaults=(0, 0, 0, 0.0, 0.0))

WEATHERS = [
    Weather("clear"),
    Weather("far", delay=0.01),
    Weather("lossy", loss=0.03),
    Weather("repeating", repeat=0.3),
    Weather("jittery", late=0.05, delay=0.001, late_delay=0.03),
    Weather("stormy", loss=0.01, repeat=0.1, late=0.03, delay=0.002, late_delay=0.1),
]
NAMES = [weather.name for weather in WEATHERS]


def is_datagram(frame):
    return frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x11"


class Switch:
    """Runs in the process of its own."""

    def __init__(self, seed, commands):
        self.rng = random.Random(seed)
        self.commands = commands
        self.weather = WEATHERS[0]
        self.ports = []
        self.port_of = {}
        self.due = []
        self.count = 0
        self.poll = select.poll()
        self.poll.register(commands, select.POLLIN)

    def add(self, namespace):
        """A device in a namespace. This process stays there: a device is opened where its process is."""
        inside = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(inside, 0) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        os.close(inside)
        port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(port, TUNSETIFF, struct.pack("16sH22x", b"eth0", TAP_WITHOUT_HEADER))
        self.ports.append(port)
        self.poll.register(port, select.POLLIN)

    def run(self):
        while True:
            wait_ms = max(0, self.due[0][0] - time.monotonic()) * 1000 if self.due else None
            for file, _ in self.poll.poll(wait_ms):
                if file != self.commands:
                    self.take(file)
                elif not self.obey():
                    return
            self.pass_on()

    def obey(self):
        """One command, answered when it has been done. False if there will be no more."""
        line = os.read(self.commands, 4096).decode()
        if not line:
            return False
        verb, argument = line.split()
        if verb == "add":
            self.add(argument)
        else:
            self.weather = next(weather for weather in WEATHERS if weather.name == argument)
        os.write(1, b"done\n")
        return True

    def take(self, port):
        for _ in range(64):
            try:
                frame = os.read(port, FRAME_BYTES_MAX)
            except OSError:
                # Nothing is there, or the device is not up, or gone.
                return
            self.port_of[frame[6:12]] = port
            for _ in range(self.copies(frame)):
                self.hold(port, frame)

    def copies(self, frame):
        if not is_datagram(frame):
            return 1
        if self.rng.random() < self.weather.loss or len(self.due) > QUEUE_MAX:
            return 0
        return 2 if self.rng.random() < self.weather.repeat else 1

    def hold(self, port, frame):
        # Those that are not late keep their order: who sees much of it changed takes it for loss, and slows down.
        delay = self.weather.delay
        if self.rng.random() < self.weather.late:
            delay += self.rng.uniform(0, self.weather.late_delay)
        self.count += 1
        heapq.heappush(self.due, (time.monotonic() + delay, self.count, port, frame))

    def pass_on(self):
        now = time.monotonic()
        while self.due and self.due[0][0] <= now:
            _, _, sender, frame = heapq.heappop(self.due)
            receiver = self.port_of.get(frame[:6])
            if receiver is not None:
                self.put(receiver, frame)
            elif frame[:6] == BROADCAST:
                for port in self.ports:
                    if port != sender:
                        self.put(port, frame)

    @staticmethod
    def put(port, frame):
        try:
            os.write(port, frame)
        except OSError:
            # The device is down, or its queue is full: a wire loses.
            pass


class Wire:
    """The switch as others use it."""

    def __init__(self, seed, weather):
        self.names = NAMES if weather == "any" else [weather]
        self.process = subprocess.Popen(
            [sys.executable, "-u", __file__, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def say(self, verb, argument):
        self.process.stdin.write(f"{verb} {argument}\n".encode())
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == b"done\n", f"the switch has ended, status {self.process.wait()}"

    def add(self, namespace):
        self.say("add", namespace)

    def turn(self, rng):
        """Other weather; tells which."""
        weather = rng.choice(self.names)
        self.say("weather", weather)
        return f" {weather:9}"

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


if __name__ == "__main__":
    Switch(int(sys.argv[1]), 0).run()
