"""restic, borg, and what is compared with them: places that files and streams go into and come out of."""

import os
import pathlib
import subprocess


class Archiver:
    """One tool with an empty place of its own in a scratch directory, where its caches are too."""

    # What has to be installed.
    program = ""

    def __init__(self, name, scratch):
        self.name = name
        self.scratch = pathlib.Path(scratch)
        self.store = self.scratch / "store"
        self.environment = dict(os.environ)

    def create(self):
        """Makes the empty store, if that is a command of its own."""

    def finish(self):
        """What is done once all is in; not part of the time."""

    def import_command(self, path):
        """Takes a file, under its name without the ending."""
        raise NotImplementedError

    def export_command(self, path):
        """Writes to stdout what `import_command` took."""
        raise NotImplementedError

    def put_command(self, name):
        """Takes what comes by stdin."""
        raise NotImplementedError

    def get_command(self, name):
        """Writes to stdout what `put_command` took."""
        raise NotImplementedError

    def run(self, command, stdin=subprocess.DEVNULL):
        subprocess.run(command, check=True, env=self.environment, stdin=stdin, stdout=subprocess.DEVNULL)

    def gives_back(self, command, path):
        """True if what a command writes to stdout is what a file or device holds, byte for byte."""
        writer = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        same = subprocess.run(["cmp", "-", path], stdin=writer.stdout, check=False).returncode == 0
        writer.stdout.close()
        return writer.wait() == 0 and same

    def stored_bytes(self):
        """What lies under the store, in allocated disk blocks."""
        os.sync()
        return sum(entry.lstat().st_blocks * 512 for entry in self.store.rglob("*"))


class Borg(Archiver):
    """Content-defined chunks, no encryption."""

    program = "borg"

    def __init__(self, scratch, compression="lz4"):
        super().__init__(f"borg-{compression}", scratch)
        self.compression = compression
        self.environment |= {"BORG_BASE_DIR": str(self.scratch / "home"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def create(self):
        self.run(["borg", "init", "--encryption", "none", self.store])

    def import_command(self, path):
        return ["borg", "create", "--compression", self.compression, f"{self.store}::{path.stem}", path]

    def export_command(self, path):
        return self.get_command(path.stem)

    def put_command(self, name):
        return ["borg", "create", "--compression", self.compression, "--stdin-name", name, f"{self.store}::{name}", "-"]

    def get_command(self, name):
        return ["borg", "extract", "--stdout", f"{self.store}::{name}"]


class Restic(Archiver):
    """Content-defined chunks, zstd, always encrypted."""

    program = "restic"

    def __init__(self, scratch):
        super().__init__("restic", scratch)
        cache = str(self.scratch / "cache")
        self.environment |= {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.store), "RESTIC_CACHE_DIR": cache}

    def create(self):
        self.run(["restic", "init", "--quiet", "--repository-version", "2"])

    def import_command(self, path):
        return ["restic", "backup", "--quiet", "--tag", path.stem, path]

    def export_command(self, path):
        return ["restic", "dump", "--quiet", "--tag", path.stem, "latest", path]

    def put_command(self, name):
        return ["restic", "backup", "--quiet", "--stdin", "--stdin-filename", name, "--tag", name]

    def get_command(self, name):
        return ["restic", "dump", "--quiet", "--tag", name, "latest", name]
