"""The store under Milvus: a group of Quorate replicas, or a cluster of etcd.

Promises: both are started, asked and struck in one way, through etcd's API; data is on the disk of the bench's directory, with
fsync. Left out on purpose: settings beyond those that are given; both run with their defaults otherwise.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from process import Process, body, until

HOST = "127.0.0.1"


class Store:
    """`size` members; member n has its ports in the hundred behind the first one's."""

    def __init__(self, tools, directory, size):
        self.etcdctl = str(Path(tools) / "etcdctl")
        self.directory = directory
        self.size = size
        self.members = {}

    def port(self, number, offset):
        return 2379 + 100 * number + offset

    def clients(self):
        return [f"{HOST}:{self.port(number, 0)}" for number in range(self.size)]

    def start(self):
        for number in range(self.size):
            self.start_one(number)
        self.ready()

    def start_one(self, number):
        self.members[number] = self.launch(number)

    def is_ready(self, number):
        return self.members[number].runs() and body(self.page(number)) is not None

    def ready(self):
        """All members run, serve, and know one leader."""
        until(f"{self.name}: all ready", lambda: all(map(self.is_ready, range(self.size))))
        until(f"{self.name}: one leader", lambda: self.leader() is not None)

    def ask(self, *arguments):
        command = [self.etcdctl, "--endpoints", ",".join(self.clients()), "--command-timeout", "5s", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"})
        return done.stdout if done.returncode == 0 else None

    def leader(self):
        """Its number, when all members name it."""
        said = self.ask("endpoint", "status", "--write-out", "json")
        if said is None:
            return None
        status = {each["Endpoint"]: each["Status"] for each in json.loads(said)}
        leaders = {each.get("leader") for each in status.values()}
        if len(leaders) != 1:
            return None
        ids = [status.get(client, {}).get("header", {}).get("member_id") for client in self.clients()]
        (leader,) = leaders
        return ids.index(leader) if leader in ids else None

    def get(self, prefix):
        """Keys under a prefix, with their values."""
        said = self.ask("get", "--prefix", prefix)
        lines = said.splitlines() if said is not None else []
        return dict(zip(lines[::2], lines[1::2]))

    def kill_leader(self):
        self.members[self.leader()].kill()

    def restart_all(self, pause):
        """As an update does: one after the other, each when the one before has been back for `pause` seconds; the leader at last."""
        leader = self.leader()
        followers = [each for each in range(self.size) if each != leader]
        for number in [*followers, leader]:
            if number != followers[0]:
                time.sleep(pause)
            self.members[number].strike(signal.SIGTERM)
            self.members[number].child.wait()
            self.start_one(number)
            until(f"member {number} is ready", lambda number=number: self.is_ready(number))

    def mend(self):
        for number, member in self.members.items():
            if not member.runs():
                self.start_one(number)
        self.ready()

    def stop(self):
        for member in self.members.values():
            member.kill()


class Quorate(Store):
    name = "quorate"

    def __init__(self, binary, settings, tools, directory, size):
        super().__init__(tools, directory, size)
        self.binary = binary
        self.settings = settings

    def page(self, number):
        return f"http://{HOST}:{self.port(number, 4)}/readyz"

    def launch(self, number):
        names = [f"r{each}" for each in range(self.size)]
        listed = ",".join(
            f"{name}={HOST}:{self.port(each, 0)}/{self.port(each, 1)}/{self.port(each, 3)}"
            for each, name in enumerate(names)
        )
        flags = ["--name", names[number], "--replicas", listed, "--bind", HOST]
        flags += ["--data-dir", str(self.directory / names[number]), "--http", f"{HOST}:{self.port(number, 4)}"]
        log = self.directory / f"{names[number]}.log"
        return Process(names[number], [self.binary, "serve", *flags], log, env={**os.environ, **self.settings})


class Etcd(Store):
    name = "etcd"

    def __init__(self, tools, directory, size):
        super().__init__(tools, directory, size)
        self.binary = str(Path(tools) / "etcd")

    def page(self, number):
        return f"http://{HOST}:{self.port(number, 0)}/health"

    def launch(self, number):
        urls = [f"http://{HOST}:{self.port(each, 1)}" for each in range(self.size)]
        client = f"http://{HOST}:{self.port(number, 0)}"
        flags = {
            "name": f"e{number}",
            "data-dir": self.directory / f"e{number}",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": urls[number],
            "initial-advertise-peer-urls": urls[number],
            "initial-cluster": ",".join(f"e{each}={url}" for each, url in enumerate(urls)),
            "log-level": "warn",
        }
        command = [self.binary, *(f"--{flag}={value}" for flag, value in flags.items())]
        return Process(f"e{number}", command, self.directory / f"e{number}.log")
