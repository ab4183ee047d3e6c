"""What deploy/ says, told to the real binary.

Promises: replicas run on addresses of their own in 127.0.0.0/8, so that they take nobody's ports, and end with this
process at the latest. Left out on purpose: containers, DNS; see README.md for what was run there.
"""

import os
import random
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_SECONDS = 60


class Replica:
    """One `quorate serve` with an environment out of deploy/, at an address of ours."""

    def __init__(self, binary, environment, address, directory):
        self.address = address
        self.log = Path(directory) / f"{environment['QUORATE_NAME']}.log"
        data = Path(directory) / environment["QUORATE_NAME"]
        flags = ["--bind", address, "--http", f"{address}:9091", "--data-dir", str(data)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", *flags, "--stop-with-parent", str(os.getpid())],
                env={"PATH": os.environ["PATH"], **environment},
                stderr=log,
            )

    def get(self, path):
        """Status and body; (0, reason) when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:9091{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def until(self, path, wanted):
        """Asks until `wanted(status, body)`; the last answer, and whether it was wanted."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            code, body = self.get(path)
            if wanted(code, body):
                return True, body
            if self.process.poll() is not None or time.monotonic() > end:
                return False, f"{code} {body.strip()}; its log: {self.log.read_text()[-800:]}"
            time.sleep(0.1)

    def stop(self):
        """SIGTERM; its exit code and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECONDS), time.monotonic() - began
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(), time.monotonic() - began


def network():
    return f"127.{random.randint(64, 254)}.{random.randint(0, 254)}"


def settings(report, binary, directory):
    """`quorate config` prints deploy/quorate.toml, and its keys are good."""
    commented = Path("deploy/quorate.toml").read_text()
    printed = subprocess.run([binary, "config"], capture_output=True, text=True).stdout
    report.check(printed == commented, "`quorate config` prints something else than deploy/quorate.toml")
    # Every key, uncommented; the list of replicas and the domain of a StatefulSet, which exclude one another, in turns.
    # Without TLS: its keys name files that an operator brings, and the check reads them.
    keys = re.sub(r"^#(?=[a-z_.]+ = )", "", commented, flags=re.M)
    keys = re.sub(r"^tls_[a-z_]+ = .*$", "", keys, flags=re.M)
    listed = re.sub(r"^(peers_dns|group_size) = .*$", "", keys, flags=re.M)
    in_a_set = re.sub(r"^replicas = .*$", "", re.sub(r'^name = .*$', 'name = "quorate-0"', keys, flags=re.M), flags=re.M)
    good = True
    for name, text in [("listed.toml", listed), ("set.toml", in_a_set)]:
        path = Path(directory) / name
        path.write_text(text)
        good &= report.run("quorate.toml", [binary, "config", "--check", str(path)]) is not None
    if good:
        report.say("quorate.toml is what the binary prints, and all its keys are good")


def names(report, binary, environments):
    """A variable that the binary does not know is ignored by it, so nobody else would notice."""
    printed = subprocess.run([binary, "config"], capture_output=True, text=True).stdout
    keys = re.findall(r"^#([a-z_.]+) = ", printed, flags=re.M)
    known = {f"QUORATE_{key.upper().replace('.', '_')}" for key in keys}
    given = {name for environment in environments for name in environment if name.startswith("QUORATE_")}
    if report.check(given <= known, f"there are no such settings: {', '.join(sorted(given - known))}"):
        report.say(f"all {len(given)} variables are settings")


def pods(report, binary, name, environments, directory):
    """The first replica of a kustomization, with its exact environment: it must wait for all the others by name."""
    (Path(directory) / name).mkdir()
    replica = Replica(binary, environments[0], f"{network()}.1", Path(directory) / name)
    others = [each["QUORATE_NAME"] for each in environments[1:]]
    live, said = replica.until("/livez", lambda code, _: code == 200)
    waits = live
    if live:
        waits, said = replica.until("/readyz", lambda code, body: code == 503 and all(o in body for o in others))
    report.check(waits, f"{name}: a replica does not wait for {', '.join(others)}: {said}")
    code, took = replica.stop()
    if report.check(code == 0, f"{name}: SIGTERM ended it with {code}") and waits:
        report.say(f"{name}: its settings are accepted, /livez 200, waits for {len(others)} others; stopped in {took:.1f} s")


def group(report, binary, what, environments, health, metrics, directory):
    """The compose file's replicas as processes: they form a group, are healthy, and have every metric that is used."""
    directory = Path(directory) / what.replace(" ", "-")
    directory.mkdir()
    net = network()
    addresses = {name: f"{net}.{n}" for n, name in enumerate(environments, start=1)}
    listed = ",".join(f"{name}={address}" for name, address in addresses.items())
    names = [entry.partition("=")[::2] for entry in environments["a"]["QUORATE_REPLICAS"].split(",")]
    report.check(names == [(name, name) for name in environments], f"{what}: its list is {names}")
    replicas = [
        Replica(binary, {**environment, "QUORATE_REPLICAS": listed}, addresses[name], directory)
        for name, environment in environments.items()
    ]
    try:
        for replica in replicas:
            ready, said = replica.until("/readyz", lambda code, _: code == 200)
            if not report.check(ready, f"{what}: a replica is not ready: {said}"):
                return
        for replica in replicas:
            command = [part.replace("127.0.0.1", replica.address).replace("$$", "$") for part in health[1:]]
            report.check(subprocess.run(command).returncode == 0, f"{what}: the health check of a ready replica fails")
        have = set()
        for replica in replicas:
            have |= exposed(replica.get("/metrics")[1])
        for where, names in metrics.items():
            missing = [name for name in names if name not in have]
            if report.check(not missing, f"{where}: no replica has the metrics {', '.join(missing)}"):
                report.say(f"{where}: all {len(names)} metrics that it uses are there")
        unused = have.difference(*metrics.values())
        if metrics and unused:
            report.say(f"(neither the dashboard nor an alert uses {', '.join(sorted(unused))})")
    finally:
        ends = [replica.stop() for replica in replicas]
    report.check(all(code == 0 for code, _ in ends), f"{what}: SIGTERM ended replicas with {[code for code, _ in ends]}")
    report.say(f"{what}: three replicas formed a group, were healthy, stopped in {max(took for _, took in ends):.1f} s or less")


def exposed(text):
    """The names of all series that the text declares, also of those without a sample yet."""
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.M):
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        names |= {name + ending for ending in endings.get(kind, [""])}
    return names
