"""What a server process costs while it is measured: processor time and resident memory, from /proc."""

import os
import pathlib
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of all threads, kernel workers of its io_uring included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


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


def settle(pid, seconds_max=60):
    """Waits until the server has finished what it does in the background, so that no cell pays for another."""
    deadline = time.monotonic() + seconds_max
    os.sync()
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        time.sleep(1)
        if cpu_seconds(pid) - before < 0.03:
            return
