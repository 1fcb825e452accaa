"""The daemon, the command, and connections to volumes."""

import json
import os
import select
import signal
import subprocess
import time

import nbd


class Refused(Exception):
    """A command failed; `kind` says how, as in its JSON."""

    def __init__(self, command, kind, message):
        super().__init__(f"silt {' '.join(command)}: {kind}: {message}")
        self.kind = kind


class Node:
    """One data directory: stopped, or with a daemon."""

    def __init__(self, silt, disk, log_path):
        self.silt = silt
        self.disk = disk
        self.log = open(log_path, "ab")
        self.daemon = None
        self.handles = {}

    def start(self):
        command = [self.silt, "serve", "--data", self.disk.data, "--no-tcp", "--memory", "128M", "--json"]
        command += self.disk.serve_options()
        self.daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        ready, _, _ = select.select([self.daemon.stdout], [], [], 120)
        line = self.daemon.stdout.readline() if ready else b""
        assert b'"ready"' in line, f"the daemon does not start: {line!r}, status {self.daemon.poll()}"

    def kill(self):
        """kill -9; connections are left to notice."""
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def forget_handles(self):
        self.handles.clear()

    def stop(self):
        self.close_all()
        self.daemon.send_signal(signal.SIGTERM)
        status = self.daemon.wait(timeout=120)
        assert status == 0, f"the daemon exited with {status} after SIGTERM"

    def end(self):
        """Whatever state it is in, nothing runs afterwards."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.kill()
        self.handles.clear()
        self.log.close()

    def begin(self, *words):
        """Starts a command and does not wait for it."""
        command = [self.silt, *words, "--data", self.disk.data, "--json"]
        environment = {**os.environ, "SILT_LOG": "error"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    @staticmethod
    def result(words, process):
        """What a command printed; raises Refused if it failed."""
        out, err = process.communicate(timeout=120)
        if process.returncode == 0:
            return json.loads(out) if out.strip() else None
        last = err.decode().strip().splitlines()[-1:] or ["{}"]
        try:
            failure = json.loads(last[0])
        except ValueError:
            failure = {}
        raise Refused(words, failure.get("kind", f"exit status {process.returncode}"), failure.get("message", last[0]))

    def run(self, *words):
        """Runs a command; one that somebody else's connection keeps out is tried again for a while."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.result(words, self.begin(*words))
            except Refused as refused:
                if refused.kind != "busy" or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def open(self, name):
        if name not in self.handles:
            handle = nbd.NBD()
            handle.connect_uri(f"nbd+unix:///{name}?socket={self.disk.data}/nbd.sock")
            self.handles[name] = handle
        return self.handles[name]

    def close(self, name):
        handle = self.handles.pop(name, None)
        if handle is not None:
            handle.shutdown()

    def close_all(self):
        for name in list(self.handles):
            self.close(name)
