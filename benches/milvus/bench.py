"""How long Milvus is out when something under it, or in it, dies: over Quorate and over etcd, in one run. See README.md.

Promises: everything runs in a network and process namespace that is made for it and ends with it, because Milvus listens on
all addresses and its ports cannot all be set; a round begins when every kind of call has been well for three seconds. Ends
with 1 when a process of Milvus ended by itself or a kind of call never came back, with 2 when the bench itself failed.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INSIDE = "QUORATE_MILVUS_BENCH_INSIDE"
FAULTS = {
    "none": "nothing happens: what the probes and the machine make of a calm time",
    "kill": "SIGKILL to the active root coordinator",
    "term": "SIGTERM to the active root coordinator",
    "leader": "SIGKILL to the store's leader",
    "rolling": "SIGTERM to each member of the store, the next when the one before has been back for --pause",
}
# A calm time before a fault, and how long a kind of call must have been well for its outage to be over.
CALM_SECONDS = 3.0
# How long an outage may last: etcd's lease of 60 s, Milvus' way back, and as much again.
OUTAGE_SECONDS = 150


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawTextHelpFormatter)
    say = parser.add_argument
    say("--milvus", required=True, help="directory with bin/milvus, lib/ and glog.conf, see install.py")
    say("--etcd", required=True, help="directory with etcd and etcdctl, of release 3.5")
    say("--quorate", help="the binary quorate")
    say("--store", default="quorate", help="quorate, etcd, or both with a comma [quorate]")
    say("--replicas", type=int, default=3, help="members of the store [3]")
    say("--setting", action="append", default=[], metavar="KEY=VALUE", help="a setting of quorate serve, as in its file")
    say("--ttl", type=int, default=60, help="time to live of Milvus' sessions, seconds [60]")
    say("--fault", default="none,kill", help="\n".join(f"{name}: {what}" for name, what in FAULTS.items()))
    say("--rounds", type=int, default=5, help="of each fault [5]")
    say("--etcd-rounds", type=int, help="of each fault over etcd, where one may take a minute [as --rounds]")
    say("--window", type=float, default=20.0, help="seconds of a round after its fault, at least [20]")
    say("--pause", type=float, default=3.0, help="seconds between two members of a rolling restart [3]")
    say("--standalone", action="store_true", help="only the smoke test, with a standalone Milvus on one member")
    say("--dir", help="a new directory for data and logs, on the disk to be measured [in the system's temporary one]")
    say("--json", help="a file to which a line for each round and each summary is appended")
    say("--label", default="", help="for the record")
    given = parser.parse_args()
    given.store = given.store.split(",")
    given.fault = given.fault.split(",")
    if unknown := (set(given.fault) - set(FAULTS)) | (set(given.store) - {"quorate", "etcd"}):
        parser.error(f"there is no {', '.join(unknown)}")
    if "quorate" in given.store and not given.quorate:
        parser.error("--store quorate needs --quorate")
    return given


def enter():
    """The same command again, in namespaces of its own, of which it is the first process."""
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-B", *sys.argv]
    os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})


def store_of(name, given, directory, size):
    from store import Etcd, Quorate

    directory.mkdir(parents=True)
    if name == "etcd":
        return Etcd(given.etcd, directory, size)
    settings = dict(setting.split("=", 1) for setting in given.setting)
    settings = {f"QUORATE_{key.upper().replace('.', '_')}": value for key, value in settings.items()}
    return Quorate(given.quorate, settings, given.etcd, directory, size)


def started(name, given, directory):
    """The store and Milvus on it, smoke test passed."""
    import probes
    from milvus import Milvus

    store = store_of(name, given, directory / "store", 1 if given.standalone else given.replicas)
    store.start()
    (directory / "milvus").mkdir()
    milvus = Milvus(given.milvus, directory / "milvus", store, given.ttl, given.standalone)
    began = time.monotonic()
    milvus.start()
    healthy = time.monotonic()
    probes.smoke(probes.connect("smoke"), "smoke")
    print(f"{name}: healthy in {healthy - began:.1f} s, smoke test passed in {time.monotonic() - healthy:.1f} s", flush=True)
    return store, milvus


def apply(fault, store, milvus, given):
    {
        "none": lambda: None,
        "kill": lambda: milvus.strike_active(signal.SIGKILL),
        "term": lambda: milvus.strike_active(signal.SIGTERM),
        "leader": store.kill_leader,
        "rolling": lambda: store.restart_all(given.pause),
    }[fault]()


def one_round(fault, name, store, milvus, given):
    """Gaps by kind, Milvus' processes that ended by themselves, failures by kind."""
    import probes
    from process import until

    probes.collection("smoke", name)
    running = probes.Probes(name)
    try:
        until("every kind of call is well", lambda: running.quiet(CALM_SECONDS))
        start = time.monotonic()
        apply(fault, store, milvus, given)
        over = lambda: time.monotonic() - start >= given.window and running.quiet(CALM_SECONDS)
        try:
            until("every kind of call is well again", over, patience=OUTAGE_SECONDS)
        except TimeoutError as late:
            print(late, flush=True)
        gaps = running.gaps(start, time.monotonic())
        fell = milvus.fell()
    finally:
        running.stop()
    store.mend()
    milvus.mend()
    probes.drop("smoke", name)
    return gaps, fell, running.failures()


def run(given, directory):
    import probes
    from report import Report

    about = {key: getattr(given, key) for key in ("label", "replicas", "ttl", "setting", "window", "pause")}
    report = Report(given.json, about)
    for name in given.store:
        store, milvus = started(name, given, directory / name)
        try:
            rounds = given.rounds if name == "quorate" or given.etcd_rounds is None else given.etcd_rounds
            # In turns, so that an hour of the machine is not one fault's alone.
            for number in range(1, rounds + 1):
                for fault in [] if given.standalone else given.fault:
                    outcome = one_round(fault, f"round_{fault}_{number}", store, milvus, given)
                    report.add(name, fault, number, *outcome)
            if not given.standalone:
                # A process whose session was lost learns of it at its next keepalive, and ends then.
                time.sleep(given.ttl / 3 + 5)
                report.afterwards(name, milvus.fell())
        finally:
            probes.disconnect("smoke")
            milvus.stop()
            store.stop()
    return True if given.standalone else report.end()


def main():
    given = arguments()
    if INSIDE not in os.environ:
        enter()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # The first process of a namespace is deaf to what it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    # The client logs each failed call.
    logging.disable(logging.CRITICAL)
    directory = Path(given.dir).absolute() if given.dir else Path(tempfile.mkdtemp(prefix="quorate-milvus-"))
    print(f"data and logs in {directory}", flush=True)
    try:
        good = run(given, directory)
    except Exception as error:  # Milvus' client has its own classes for what may happen.
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
