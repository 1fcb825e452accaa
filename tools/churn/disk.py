"""The small disk below a churned store."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time


def parse_size(text):
    """A number of bytes, or of KiB, MiB, GiB with K, M, G."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)


class Disk:
    """A scratch directory, with an ext4 image mounted in it or a capacity for the store."""

    def __init__(self, size, with_image):
        self.size = size
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="silt-soak.", dir=os.environ.get("TMPDIR", "/var/tmp")))
        self.image = self.scratch / "disk.ext4"
        self.data = self.scratch / "data"
        self.data.mkdir()
        self.is_mounted = with_image and self._mount()

    def _mount(self):
        if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
            return False
        with open(self.image, "wb") as file:
            file.truncate(self.size)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self.image], check=True)
        mounted = subprocess.run(["mount", "-o", "loop", self.image, self.data], stderr=subprocess.DEVNULL, check=False)
        if mounted.returncode != 0:
            self.image.unlink()
        return mounted.returncode == 0

    def serve_options(self):
        return [] if self.is_mounted else ["--capacity", str(self.size)]

    def _unmount(self):
        """The kernel may take a moment to let go of what a killed process had open."""
        deadline = time.monotonic() + 30
        while self.is_mounted:
            unmounted = subprocess.run(["umount", self.data], stderr=subprocess.PIPE, check=False)
            self.is_mounted = unmounted.returncode != 0
            if self.is_mounted:
                assert time.monotonic() < deadline, unmounted.stderr.decode()
                time.sleep(0.1)

    def keep(self):
        """Where everything is."""
        is_image = self.is_mounted
        self._unmount()
        how = f", whose data directory is in {self.image} (mount -o loop)" if is_image else ", the data directory in data"
        return f"{self.scratch}{how}"

    def remove(self):
        self._unmount()
        shutil.rmtree(self.scratch)

    def __str__(self):
        return f"{self.size >> 20} MiB, {'ext4 image' if self.is_mounted else 'capacity'}, {self.scratch}"
