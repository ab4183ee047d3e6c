"""Calls through Milvus' proxy, as its users make them, and how long each kind of them was out.

Promises: each kind has a thread and a connection of its own, a deadline of one second and no call in between that waits for
another kind; the next call begins a fixed time after the last one began, whether that failed or not. A gap is the time between
the ends of two successes in a row. Left out on purpose: load; these are probes.
"""

import random
import threading
import time

from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

from milvus import HOST, PROXY_PORT

DIMENSION = 32
ROWS = 2000
DEADLINE_SECONDS = 1.0
SEARCHES = ("Eventually", "Bounded", "Strong")
PARAMETERS = {"metric_type": "L2", "params": {"nprobe": 4}}
# Kind, seconds between two calls. A collection has 4,096 partitions at most, and each costs the coordinators some work.
KINDS = {
    "create_partition": 0.25,
    "list_collections": 0.1,
    "insert": 0.2,
    **{f"search {level}": 0.1 for level in SEARCHES},
}


def connect(alias):
    connections.connect(alias, host=HOST, port=str(PROXY_PORT), timeout=30)
    return alias


def disconnect(alias):
    """A channel that is left would go on dialling, ever more rarely, and keep the next one to that address waiting."""
    connections.disconnect(alias)


def vectors(count, seed):
    source = random.Random(seed)
    return [[source.random() for _ in range(DIMENSION)] for _ in range(count)]


def collection(alias, name):
    """A new collection, filled, indexed and loaded."""
    fields = [
        FieldSchema("id", DataType.INT64, is_primary=True, auto_id=False),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIMENSION),
        FieldSchema("label", DataType.VARCHAR, max_length=32),
    ]
    made = Collection(name, CollectionSchema(fields), using=alias, consistency_level="Strong")
    made.insert([list(range(ROWS)), vectors(ROWS, 1), [f"label {n % 7}" for n in range(ROWS)]])
    made.flush(timeout=60)
    made.create_index("vector", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 16}}, timeout=60)
    made.load(timeout=60)
    return made


def smoke(alias, name):
    """Everything once, with answers that are known."""
    made = collection(alias, name)
    probe = vectors(6, 1)[5]
    (hits,) = made.search([probe], "vector", {"metric_type": "L2", "params": {"nprobe": 16}}, 3, timeout=30)
    assert hits[0].id == 5, hits
    rows = made.query("id in [1, 2, 3]", output_fields=["label"], timeout=30)
    assert [row["label"] for row in rows] == ["label 1", "label 2", "label 3"], rows
    made.create_partition("one")
    utility.create_alias(name, f"{name}_alias", using=alias)
    assert name in utility.list_collections(using=alias)
    utility.drop_alias(f"{name}_alias", using=alias)
    drop(alias, name)
    assert name not in utility.list_collections(using=alias)


def drop(alias, name):
    Collection(name, using=alias).release(timeout=60)
    utility.drop_collection(name, timeout=60, using=alias)


def call(kind, name, alias):
    """One call of this kind, as a function of its number."""
    direct = connections._fetch_handler(alias)
    vector = vectors(1, 2)
    if kind == "create_partition":
        return lambda n: direct.create_partition(name, f"p{n}", timeout=DEADLINE_SECONDS)
    if kind == "list_collections":
        return lambda n: direct.list_collections(timeout=DEADLINE_SECONDS)
    if kind == "insert":
        into = Collection(name, using=alias)
        return lambda n: into.insert([[1_000_000 + n], vector, ["x"]], timeout=DEADLINE_SECONDS)
    level = kind.removeprefix("search ")
    return lambda n: direct.search(
        name, vector, "vector", PARAMETERS, 3, consistency_level=level, timeout=DEADLINE_SECONDS
    )


class Probe:
    def __init__(self, kind, period, name, ending):
        self.kind = kind
        self.period = period
        self.alias = connect(f"{kind} {name}")
        self.call = call(kind, name, self.alias)
        self.ending = ending
        self.successes = []
        self.failures = {}
        self.thread = threading.Thread(target=self.work, name=kind)
        self.thread.start()

    def work(self):
        number = 0
        while not self.ending.is_set():
            number += 1
            began = time.monotonic()
            try:
                self.call(number)
                self.successes.append(time.monotonic())
            except Exception as error:  # Whatever it is, it was no success.
                line = " ".join(f"{type(error).__name__} {error}".split())[:160]
                self.failures[line] = self.failures.get(line, 0) + 1
            self.ending.wait(max(0.0, began + self.period - time.monotonic()))

    def quiet(self, seconds):
        """Whether it had successes only, without a gap of a second, for so long."""
        now = time.monotonic()
        recent = [at for at in self.successes[-200:] if at > now - seconds]
        edges = [now - seconds, *recent, now]
        return len(recent) > 1 and max(later - earlier for earlier, later in zip(edges, edges[1:])) < 1.0

    def gap(self, start, end):
        """The longest time between two successes that has a part in this span; None when no success came after."""
        before = [at for at in self.successes if at <= start][-1:]
        inside = [at for at in self.successes if start < at <= end]
        after = [at for at in self.successes if at > end][:1]
        marks = [*before, *inside, *after]
        if not before or not (inside or after):
            return None
        return max(later - earlier for earlier, later in zip(marks, marks[1:]))


class Probes:
    """All kinds at once, over one collection."""

    def __init__(self, name):
        self.ending = threading.Event()
        self.probes = [Probe(kind, period, name, self.ending) for kind, period in KINDS.items()]

    def quiet(self, seconds):
        return all(probe.quiet(seconds) for probe in self.probes)

    def gaps(self, start, end):
        return {probe.kind: probe.gap(start, end) for probe in self.probes}

    def failures(self):
        return {probe.kind: probe.failures for probe in self.probes if probe.failures}

    def stop(self):
        self.ending.set()
        for probe in self.probes:
            probe.thread.join()
            disconnect(probe.alias)
