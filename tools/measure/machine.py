"""What the figures were measured on: processor, kernel, file system, and the disk by itself."""

import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def commit():
    """Of the tree that the tools are in; the build may be another."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"


def first_value(path, name):
    for line in pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return "unknown"


def describe(work, versions):
    """A list of (what, value) pairs; `versions` are commands that print theirs."""
    file_system = output_of("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "--target", str(work))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    facts = [
        ("processor", f"{first_value('/proc/cpuinfo', 'model name')}, {len(os.sched_getaffinity(0))} cores"),
        ("memory", f"{memory_gib:.0f} GiB"),
        ("kernel", platform.release()),
        ("file system", " ".join(file_system.split())),
    ]
    facts += [(name, output_of(*command).splitlines()[0]) for name, command in versions]
    return facts + disk_alone(work)


def disk_alone(work):
    """fio on a file past the page cache: what any server here could reach at best."""
    rows = [
        ("disk, random write 4 KiB QD32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
        ("disk, random read 4 KiB QD32", ["--rw=randread", "--bs=4k", "--iodepth=32"]),
        ("disk, write 1 MiB QD8", ["--rw=write", "--bs=1M", "--iodepth=8"]),
        ("disk, read 1 MiB QD8", ["--rw=read", "--bs=1M", "--iodepth=8"]),
        ("disk, write 4 KiB and fdatasync", ["--rw=write", "--bs=4k", "--iodepth=1", "--fdatasync=1", "--direct=0"]),
    ]
    path = pathlib.Path(work) / "disk-alone"
    base = ["fio", "--name=disk", f"--filename={path}", "--size=1G", "--direct=1", "--randrepeat=0", "--refill_buffers"]
    base += ["--ioengine=libaio", "--output-format=json"]
    try:
        subprocess.run([*base, "--rw=write", "--bs=1M", "--iodepth=8"], check=True, stdout=subprocess.DEVNULL)
        return [(title, disk_figure([*base, *options, "--time_based", "--runtime=4"])) for title, options in rows]
    finally:
        path.unlink(missing_ok=True)


def disk_figure(command):
    job = json.loads(output_of(*command))["jobs"][0]
    side = job["read"] if job["read"]["total_ios"] else job["write"]
    if "--bs=1M" in command:
        return f"{side['bw_bytes'] / 1e6:,.0f} MB/s"
    return f"{side['iops']:,.0f} IOPS"
