"""Writes files of random content one after another; each is named in LOG, with its sum, once it is durable.

usage: fsync_writer.py DIRECTORY LOG PREFIX      LOG is what `sha256sum -c` reads; it lies on another file system
"""

import hashlib
import itertools
import os
import random
import sys


def main():
    directory, log_path, prefix = sys.argv[1:]
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    with open(log_path, "a", encoding="ascii") as log:
        for number in itertools.count():
            name = f"{prefix}-{number}"
            content = os.urandom(random.randint(1, 4096)) * random.randint(1, 32)
            file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=parent)
            assert os.write(file, content) == len(content)
            os.fsync(file)
            os.close(file)
            os.fsync(parent)
            print(f"{hashlib.sha256(content).hexdigest()}  {name}", file=log, flush=True)


main()
