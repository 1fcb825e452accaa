"""Real file content for fio: a sample of this machine's /usr, and the library that puts it into fio's writes."""

import hashlib
import os
import pathlib
import subprocess
import zlib

from .load import Content

BLOCK = 4096
SAMPLE_BYTES = 512 << 20


def real_content(work, sample_bytes=SAMPLE_BYTES):
    """Builds the sample and the library in `work`; takes a C compiler, which Rust needs as well."""
    library, sample = pathlib.Path(work) / "content.so", pathlib.Path(work) / "content"
    source = pathlib.Path(__file__).with_name("content.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-o", library, source, "-ldl"], check=True)
    ratio = write_sample(sample, sample_bytes)
    environment = {"LD_PRELOAD": str(library.resolve()), "BENCH_CONTENT": str(sample.resolve())}
    return Content("real", f"real files (deflate -1: {ratio:.2f}), no duplicates", ("--refill_buffers=0",), environment)


def usr_files():
    """Regular files in an order that mixes programs, libraries and data and is the same on every run."""
    names = (os.path.join(place, name) for place, _, files in os.walk("/usr") for name in files)
    return sorted(names, key=lambda name: hashlib.blake2b(os.fsencode(name), digest_size=8).digest())


def write_sample(path, sample_bytes):
    """Concatenates files, each from a block's start as in a file system; returns how far deflate shrinks them."""
    written = squeezed = sampled = 0
    with open(path, "wb") as sample:
        for name in usr_files():
            if written >= sample_bytes:
                break
            if os.path.islink(name) or not os.path.isfile(name):
                continue
            try:
                data = pathlib.Path(name).read_bytes()[: sample_bytes - written]
            except OSError:
                continue
            data += bytes(-len(data) % BLOCK)
            written += sample.write(data)
            for at in range(0, len(data), 64 * BLOCK):
                sampled += BLOCK
                squeezed += min(BLOCK, len(zlib.compress(data[at : at + BLOCK], 1)))
    return squeezed / sampled
