"""A Milvus cluster as its eight processes, or a standalone one.

Promises: the root coordinator runs twice, one active and one in hot standby; sessions have the time to live that is given; a
process that ends by itself is noticed. Left out on purpose: tuning; what is not set here is Milvus' own default.
"""

import json
import os
import sys
from pathlib import Path

from process import Process, body, until

HOST = "127.0.0.1"
PROXY_PORT = 19530
# Where Milvus keeps its sessions in the store, and the key that the active root coordinator holds.
SESSIONS = "by-dev/meta/session/"
ACTIVE = SESSIONS + "rootcoord"

# Process, role, port of its pages, its own settings. The two root coordinators are told apart by their ports.
ROOTS = {53100: "root-a", 53101: "root-b"}
ROLES = {
    "root-a": ("rootcoord", 9201, {"ROOTCOORD_PORT": "53100"}),
    "root-b": ("rootcoord", 9202, {"ROOTCOORD_PORT": "53101"}),
    "data": ("datacoord", 9203, {}),
    "query": ("querycoord", 9204, {}),
    "data-node": ("datanode", 9205, {}),
    "index-node": ("indexnode", 9206, {}),
    "query-node": ("querynode", 9207, {}),
    "proxy": ("proxy", 9208, {}),
}
STANDALONE = {"standalone": ("standalone", 9201, {})}

# In Milvus' code every port has the same default.
PORTS = {
    "proxy": PROXY_PORT,
    "rootCoord": 53100,
    "queryCoord": 19531,
    "dataCoord": 13333,
    "queryNode": 21123,
    "dataNode": 21124,
    "indexNode": 21121,
}


def configuration(clients, queue, data, ttl, standby):
    """What Milvus reads; JSON is YAML."""
    settings = {
        "etcd": {"endpoints": ",".join(clients), "rootPath": "by-dev", "use": {"embed": False}},
        "metastore": {"type": "etcd"},
        "mq": {"type": "kafka" if queue else "rocksmq"},
        "kafka": {"brokerList": queue},
        "rocksmq": {"path": f"{data}/rocksmq"},
        "localStorage": {"path": str(data)},
        "common": {"storageType": "local", "session": {"ttl": ttl, "retryTimes": 30}},
        "log": {"level": "info", "stdout": True},
        "indexCoord": {"enableActiveStandby": standby},
    }
    for role, port in PORTS.items():
        settings[role] = {"ip": HOST, "port": port}
        if role.endswith("Coord"):
            settings[role]["enableActiveStandby"] = standby
    return json.dumps(settings, indent=1)


class Milvus:
    def __init__(self, installation, directory, store, ttl, standalone=False):
        self.installation = Path(installation)
        self.directory = directory
        self.store = store
        self.ttl = ttl
        self.roles = STANDALONE if standalone else ROLES
        self.standalone = standalone
        self.processes = {}
        self.broker = None

    def start(self):
        address = None if self.standalone else self.start_broker()
        configs = self.directory / "configs"
        configs.mkdir()
        (configs / "glog.conf").write_bytes((self.installation / "glog.conf").read_bytes())
        data = self.directory / "storage"
        text = configuration(self.store.clients(), address, data, self.ttl, not self.standalone)
        (configs / "milvus.yaml").write_text(text)
        names = list(self.roles)
        self.launch(names[0])
        if not self.standalone:
            # The first to come is the active one.
            until("a root coordinator is active", self.active)
        for name in names[1:]:
            self.launch(name)
        self.healthy()

    def start_broker(self):
        address = self.directory / "broker.address"
        program = Path(__file__).parent / "broker.py"
        self.broker = Process("broker", [sys.executable, str(program), str(address)], self.directory / "broker.log")
        until("the broker", address.exists)
        return address.read_text()

    def launch(self, name):
        role, port, settings = self.roles[name]
        place = self.directory / name
        place.mkdir(exist_ok=True)
        link = place / "configs"
        if not link.exists():
            link.symlink_to(self.directory / "configs")
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.installation / "lib"),
            "MILVUSCONF": str(self.directory / "configs"),
            "METRICS_PORT": str(port),
            "DEPLOY_MODE": "STANDALONE" if self.standalone else "CLUSTER",
            **settings,
        }
        command = [str(self.installation / "bin" / "milvus"), "run", role]
        log = self.directory / f"{name}.log"
        self.processes[name] = Process(name, command, log, cwd=place, env=environment)

    def healthy(self):
        """Every process says so itself, and both root coordinators have sessions."""
        for name, (_, port, _) in self.roles.items():
            page = f"http://{HOST}:{port}/healthz"
            until(f"Milvus' {name} is healthy", lambda name=name, page=page: self.fell() or body(page) == "OK")
        if fallen := self.fell():
            raise RuntimeError(f"Milvus: {', '.join(fallen)} ended by itself; see the logs in {self.directory}")
        if not self.standalone:
            until("a root coordinator in standby", lambda: len(self.store.get(ACTIVE + "-")) == 2)

    def active(self):
        """The name of the root coordinator that holds the key."""
        session = self.store.get(ACTIVE).get(ACTIVE)
        if session is None:
            return None
        return ROOTS[int(json.loads(session)["Address"].rpartition(":")[2])]

    def strike_active(self, number):
        self.processes[self.active()].strike(number)

    def fell(self):
        return [name for name, process in self.processes.items() if process.fell()]

    def mend(self):
        """Starts again what ended or was to end."""
        for name, process in list(self.processes.items()):
            if not process.wanted or not process.runs():
                process.kill()
                self.launch(name)
        self.healthy()

    def stop(self):
        for process in [*self.processes.values(), *filter(None, [self.broker])]:
            process.kill()
