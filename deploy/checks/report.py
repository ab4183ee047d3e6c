"""What was checked, what was skipped, what is wrong."""

import os
import shutil
import subprocess


class Report:
    """Collects; nothing is printed twice, and a wrong thing does not hide the next one."""

    def __init__(self):
        self.wrong = []
        self.skipped = []

    def say(self, line):
        print(f"  {line}", flush=True)

    def fail(self, line):
        self.wrong.append(line)
        print(f"  WRONG: {line}", flush=True)

    def skip(self, line):
        self.skipped.append(line)
        print(f"  SKIPPED: {line}", flush=True)

    def check(self, good, line):
        """`line` says what is wrong when `good` is not true."""
        if not good:
            self.fail(line)
        return good

    def run(self, what, command, **options):
        """Runs a program whose failure is a wrong thing; its output otherwise."""
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        if done.returncode != 0:
            self.fail(f"{what}: {done.stdout.strip()}")
            return None
        return done.stdout

    def end(self):
        """The exit code."""
        print()
        for line in self.skipped:
            print(f"skipped: {line}")
        for line in self.wrong:
            print(f"wrong: {line}")
        strict = os.environ.get("QUORATE_REQUIRE_DEPLOY") == "1"
        if self.wrong or (strict and self.skipped):
            print("deploy/ has to be corrected")
            return 1
        print("deploy/ is good" + (" as far as it was checked" if self.skipped else ""))
        return 0


def find(*programs):
    """The first of these programs that is installed."""
    return next((path for path in map(shutil.which, programs) if path), None)
