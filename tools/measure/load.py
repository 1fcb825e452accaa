"""The rows of the comparison, and fio as the load generator on one NBD connection."""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field

from . import process
from .server import drop_page_cache

MIB = 1 << 20
STALL_NS = 100_000_000
# fio repeats its content from run to run unless told not to, and leaves half of a large buffer zero
# unless the compressible part is spread over small chunks; both flatter a store that deduplicates.
FRESH = ["--randrepeat=0", "--refill_buffers", "--buffer_compress_percentage=50", "--buffer_compress_chunk=4k"]


@dataclass(frozen=True)
class Row:
    """One kind of work on a completely written volume. `unit` is MB/s or IOPS."""

    key: str
    title: str
    unit: str
    options: tuple
    seconds: int = 20
    # fill: writes the whole volume once. cold: after a restart and without page cache. warm: after reading the region twice.
    start: str = ""
    region_bytes: int = 0


ROWS = [
    Row("write-1m", "write 1 MiB, QD8, whole volume", "MB/s", ("--rw=write", "--bs=1M", "--iodepth=8"), start="fill"),
    Row("read-1m", "read 1 MiB, QD8, uncached", "MB/s", ("--rw=read", "--bs=1M", "--iodepth=8"), start="cold"),
    Row("randread", "random read 4 KiB, QD32, uncached", "IOPS", ("--rw=randread", "--bs=4k", "--iodepth=32"), start="cold"),
    Row(
        "randread-cached",
        "random read 4 KiB, QD32, cached 256 MiB",
        "IOPS",
        ("--rw=randread", "--bs=4k", "--iodepth=32"),
        start="warm",
        region_bytes=256 * MIB,
    ),
    Row("mixed", "mixed 16 KiB, QD16, half reads", "IOPS", ("--rw=randrw", "--bs=16k", "--iodepth=16")),
    Row("randwrite", "random write 4 KiB, QD32, 60 s", "IOPS", ("--rw=randwrite", "--bs=4k", "--iodepth=32"), seconds=60),
    Row("sync", "random write 4 KiB, QD1, flush after each", "IOPS", ("--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1")),
]


@dataclass(frozen=True)
class Content:
    """What is written: fio's own bytes with a share of duplicates, or bytes of real files (see content.py)."""

    key: str
    title: str
    options: tuple = ()
    environment: dict = field(default_factory=dict)


def fio_content(duplicate_percentage):
    options = ()
    if duplicate_percentage:
        # The working set spreads the duplicates over the volume; fio's default repeats the buffer just written,
        # which any write-combining buffer would catch.
        options = (f"--dedupe_percentage={duplicate_percentage}", "--dedupe_mode=working_set", "--dedupe_working_set_percentage=5")
    return Content(str(duplicate_percentage), f"{duplicate_percentage} % duplicates", options)


@dataclass
class Cell:
    """One row on one server, once. Latencies in microseconds; of reads, writes and flushes the slowest counts."""

    value: float
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    stalled_count: int
    cpu_cores: float
    resident_bytes: int
    cache_dropped: bool
    operations_count: int
    # Of the server's processes, by name of thread, and of the load generator.
    cpu_seconds: dict
    load_cpu_seconds: float


def fio(server, content, options):
    """Runs fio on the server's volume and returns the job of its JSON report."""
    command = ["fio", "--name=bench", *server.fio_options, *FRESH, *content.options, *options]
    command += ["--output-format=json+", "--percentile_list=50:99:99.9"]
    done = subprocess.run(
        command,
        cwd=server.directory,
        env=dict(os.environ, **content.environment, **server.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"fio on {server.name}: {done.stderr.decode()} {done.stdout.decode()[-500:]}\n{server.log()}")
    # Notes of the engine may precede the report.
    report = done.stdout.decode()
    job = json.loads(report[report.index("{") :])["jobs"][0]
    if job["error"]:
        raise RuntimeError(f"fio on {server.name}: error {job['error']}\n{server.log()}")
    return job


def start_of(row, server, content):
    """Brings the server into the state the row starts from; true if the page cache was dropped."""
    process.settle(*server.pids.values())
    if row.start == "cold" and server.keeps_data:
        server.stop()
        dropped = drop_page_cache()
        server.start()
        return dropped
    if row.start == "warm":
        whole = [f"--size={min(row.region_bytes, server.size_bytes)}", "--rw=read", "--bs=128k", "--iodepth=4", "--loops=2"]
        fio(server, content, whole)
        fio(server, content, [*row.options, f"--size={min(row.region_bytes, server.size_bytes)}"])
    return False


def run(row, server, content, scale=1.0):
    """Measures one cell; `scale` shortens the timed rows. A server that forgets has no uncached rows: None."""
    if row.start == "cold" and not server.keeps_data:
        return None
    dropped = start_of(row, server, content)
    size = min(row.region_bytes or server.size_bytes, server.size_bytes)
    options = [*row.options, f"--size={size}"]
    if row.start != "fill":
        options += ["--time_based", f"--runtime={max(1, round(row.seconds * scale))}"]
    pids = server.pids
    for pid in pids.values():
        process.forget_peak(pid)
    # fio by itself counts one of its threads.
    started, load_before = time.monotonic(), process.children_seconds()
    with process.Watch(pids) as watch:
        job = fio(server, content, options)
        seconds, load_seconds = time.monotonic() - started, process.children_seconds() - load_before
    resident_bytes = sum(process.peak_resident_bytes(pid) for pid in pids.values())
    return cell_of(row, job, seconds, (watch.seconds(), load_seconds), resident_bytes, dropped)


def cell_of(row, job, seconds, spent, resident_bytes, dropped):
    cpu_seconds, load_cpu_seconds = spent
    sides = [job[side] for side in ("read", "write") if job[side]["total_ios"]]
    latencies = [side["clat_ns"] for side in sides]
    if job["sync"]["total_ios"]:
        latencies.append(job["sync"]["lat_ns"])
    if row.unit == "MB/s":
        value = sum(side["bw_bytes"] for side in sides) / 1e6
    else:
        value = sum(side["iops"] for side in sides)
    return Cell(
        value=value,
        p50_us=slowest(latencies, "50.000000"),
        p99_us=slowest(latencies, "99.000000"),
        p999_us=slowest(latencies, "99.900000"),
        max_us=max(latency["max"] for latency in latencies) / 1e3,
        stalled_count=sum(count for latency in latencies for ns, count in latency.get("bins", {}).items() if int(ns) > STALL_NS),
        cpu_cores=sum(sum(threads.values()) for threads in cpu_seconds.values()) / seconds,
        resident_bytes=resident_bytes,
        cache_dropped=dropped,
        operations_count=sum(side["total_ios"] for side in sides),
        cpu_seconds=cpu_seconds,
        load_cpu_seconds=load_cpu_seconds,
    )


def slowest(latencies, percentile):
    return max(latency.get("percentile", {}).get(percentile, 0) for latency in latencies) / 1e3
