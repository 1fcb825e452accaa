"""An RBD image of a Ceph cluster on this machine (tools/bench-ceph-setup), measured like any other server.

fio speaks to it through librbd, in its own process: there is no NBD server between, which is in Ceph's favour.
"""

import pathlib
import shutil
import subprocess
import tempfile

from .server import ServerFailed

SETUP = pathlib.Path(__file__).resolve().parent.parent / "bench-ceph-setup"


def install():
    subprocess.run([SETUP, "packages"], check=True)


class Ceph:
    """Stands in for a `Server`; its processes are those of all daemons."""

    keeps_data = True

    def __init__(self, name, work, size_bytes):
        self.name = name
        self.size_bytes = size_bytes
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}.", dir=work))
        # Paths of sockets are short.
        self.socket_directory = pathlib.Path(tempfile.mkdtemp(prefix="silt-bench."))
        self.cluster = self.socket_directory / "ceph"
        self.cluster.symlink_to(self.directory)

    @property
    def fio_options(self):
        return ["--ioengine=rbd", "--clientname=admin", "--pool=rbd", "--rbdname=bench"]

    @property
    def environment(self):
        return {"CEPH_CONF": str(self.cluster / "ceph.conf")}

    @property
    def pids(self):
        return {path.stem: int(path.read_text(encoding="ascii")) for path in sorted(self._pid_files())}

    def prepare(self):
        """Makes the cluster and the image; it runs then."""
        self._setup("make", str(self.size_bytes))

    def start(self):
        if not self._pid_files():
            self._setup("start")

    def stop(self):
        self._setup("stop")

    def remove(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.socket_directory, ignore_errors=True)

    def log(self):
        return (self.directory / "setup.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def _pid_files(self):
        return list((self.directory / "run").glob("*.pid"))

    def _setup(self, verb, *words):
        with open(self.directory / "setup.log", "ab") as log:
            command = [SETUP, verb, self.cluster, *words]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"{self.name} did not {verb}: {self.log()}")
