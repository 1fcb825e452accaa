"""What server processes cost while they are measured: processor time and resident memory, from /proc."""

import os
import pathlib
import re
import resource
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
# A connection's thread ends with the load: what it did since the last look is told as that of threads that ended.
LOOK_SECONDS = 0.1
ENDED = "ended"


def cpu_seconds(pid):
    """User and system time of all threads, kernel workers of its io_uring included."""
    return named_seconds(f"/proc/{pid}/stat")[1]


def named_seconds(path):
    """The name and the time in a stat file of a process or of a thread."""
    name, fields = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").split("(", 1)[1].rsplit(")", 1)
    fields = fields.split()
    return name, (int(fields[11]) + int(fields[12])) / TICKS


def children_seconds():
    """What all commands together have spent that were started here and have ended, with all their threads."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def thread_seconds(pid):
    """What each thread has spent: its id, the name without a number at its end, seconds."""
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            name, seconds = named_seconds(path / "stat")
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(path.name), re.sub(r"-?\d+$", "", name), seconds


class Watch:
    """Processor time by process and name of thread, of all that happens in a `with` block."""

    def __init__(self, pids):
        self.pids = dict(pids)
        self.first, self.last = {}, {}
        self.is_over = threading.Event()
        self.looker = threading.Thread(target=self._look_on)

    def __enter__(self):
        self.totals = {process: cpu_seconds(pid) for process, pid in self.pids.items()}
        self._look()
        self.first = {key: seconds for key, (_, seconds) in self.last.items()}
        self.looker.start()
        return self

    def __exit__(self, failure, *_):
        self.is_over.set()
        self.looker.join()
        if failure:
            return
        self._look()
        self.totals = {process: cpu_seconds(pid) - self.totals[process] for process, pid in self.pids.items()}

    def seconds(self):
        """{process: {name of thread: seconds}}; together they are what the processes spent."""
        spent = {process: {} for process in self.pids}
        for key, (name, seconds) in self.last.items():
            threads = spent[key[0]]
            threads[name] = threads.get(name, 0.0) + seconds - self.first.get(key, 0.0)
        for process, threads in spent.items():
            threads[ENDED] = max(0.0, self.totals[process] - sum(threads.values()))
        return spent

    def _look(self):
        for process, pid in self.pids.items():
            for thread, name, seconds in thread_seconds(pid):
                self.last[process, thread] = (name, seconds)

    def _look_on(self):
        while not self.is_over.wait(LOOK_SECONDS):
            self._look()


def forget_peak(pid):
    """Starts a new peak of resident memory; without the right to, the peak is that of the process's life."""
    try:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def peak_resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def settle(*pids, seconds_max=60):
    """Waits until the servers have finished what they do in the background, so that no cell pays for another."""
    deadline = time.monotonic() + seconds_max
    os.sync()
    while time.monotonic() < deadline:
        before = sum(cpu_seconds(pid) for pid in pids)
        time.sleep(1)
        if sum(cpu_seconds(pid) for pid in pids) - before < 0.03 * len(pids):
            return
