"""Processes of one bench, and waiting for what they do.

Promises: each process writes to a log of its own; whether one ended by itself is told apart from one that was ended here.
Left out on purpose: cleaning up after a crash of the bench; its namespace does that (see bench.py).
"""

import signal
import subprocess
import time
import urllib.error
import urllib.request

PATIENCE_SECONDS = 90


class Process:
    def __init__(self, name, command, log, **options):
        self.name = name
        self.wanted = True
        with open(log, "ab") as out:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)

    def runs(self):
        return self.child.poll() is None

    def strike(self, number):
        """Sends a signal that is to end it."""
        self.wanted = False
        self.child.send_signal(number)

    def kill(self):
        if self.runs():
            self.strike(signal.SIGKILL)
        self.child.wait()

    def fell(self):
        """Whether it ended though nobody asked it to."""
        return self.wanted and not self.runs()


def until(what, condition, patience=PATIENCE_SECONDS, pause=0.05):
    """Asks until `condition()` is something, and returns that."""
    end = time.monotonic() + patience
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(pause)


def body(url):
    """What a page says; None unless it says 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None
