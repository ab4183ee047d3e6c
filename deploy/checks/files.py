"""The compose file, the unit, the Dockerfiles and Prometheus' files, as files."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from compose_spec.models import ComposeSpecification

from report import find

COMPOSE = Path("deploy/compose.yaml")
COMPOSE_MILVUS = Path("deploy/milvus/compose.yaml")
VALUES = Path("deploy/milvus/values.yaml")
# The one that README.md takes for its example.
NAMESPACE = "coordinator"
UNIT = Path("deploy/systemd/quorate.service")
PROMETHEUS = Path("deploy/prometheus")
DASHBOARD = Path("deploy/grafana/quorate.json")
METRIC = re.compile(r"\bquorate_[a-z0-9_]+")


def compose(report):
    """Checks the compose files; returns the environment of each service, that with Milvus' file laid over it, and the health
    check."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    laid = yaml.safe_load(COMPOSE_MILVUS.read_text())["services"]
    docker = find("docker")
    by_docker = docker and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0
    for files in ([COMPOSE], [COMPOSE, COMPOSE_MILVUS]):
        if not by_docker:
            schema(report, files[-1])
            continue
        flags = [part for file in files for part in ("-f", str(file))]
        if report.run("compose", [docker, "compose", *flags, "config", "--quiet"]) is not None:
            report.say(f"{files[-1]} is good by docker compose")
    for name, service in services.items():
        good = service["environment"]["QUORATE_NAME"] == name == service["hostname"]
        report.check(good, f"compose: the service {name} is called otherwise inside")
    environments = {name: service["environment"] for name, service in services.items()}
    endpoints = ",".join(f"{name}:2379" for name in services)
    milvus = laid.pop("milvus")
    report.check(milvus["environment"]["ETCD_ENDPOINTS"] == endpoints, f"compose: Milvus' store is not {endpoints}")
    report.check(set(milvus["depends_on"]) == set(services), "compose: Milvus does not wait for all replicas")
    report.check(set(laid) == set(services), "compose: the files do not have the same replicas")
    over = {name: {**environments[name], **service["environment"]} for name, service in laid.items()}
    return environments, over, services["a"]["healthcheck"]["test"]


def schema(report, file):
    """By the models that were generated from the compose specification; they ignore what they do not know, so what
    they lose is what nobody knows."""
    given = yaml.safe_load(file.read_text())
    try:
        model = ComposeSpecification.model_validate(given)
    except ValueError as error:
        report.fail(f"{file}: {error}")
        return
    read = model.model_dump(by_alias=True, mode="json", exclude_unset=True)
    for name, service in given["services"].items():
        unknown = set(service) - set(read["services"][name])
        report.check(not unknown, f"{file}: {name} has unknown keys {sorted(unknown)}")
    report.say(f"{file} is good by the compose specification's schema (docker compose is not here)")


def helm(report):
    """Milvus' values name the replicas of the kustomization, in some namespace."""
    values = yaml.safe_load(VALUES.read_text())
    endpoints = values["externalEtcd"]["endpoints"]
    wanted = [f"quorate-{number}.quorate-peers.{NAMESPACE}.svc:2379" for number in range(3)]
    good = report.check(endpoints == wanted, f"{VALUES}: the endpoints are not {wanted}")
    good &= report.check(not values["etcd"]["enabled"], f"{VALUES}: Milvus brings an etcd of its own")
    if good:
        report.say(f"{VALUES} names the replicas")


def unit(report, binary):
    """systemd-analyze wants the program to be there: it is given ours."""
    text = UNIT.read_text()
    if not find("systemd-analyze"):
        report.skip("the systemd unit: systemd-analyze is not here")
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / UNIT.name
        path.write_text(text.replace("/usr/local/bin/quorate", binary))
        said = report.run("unit", ["systemd-analyze", "verify", "--man=no", str(path)])
        # Users and the like are warnings of the machine, not of the file; a wrong key is one of the file.
        if said is not None and report.check(UNIT.name not in said, f"unit: {said.strip()}"):
            report.say("the systemd unit is good by systemd-analyze verify")


def dockerfiles(report):
    texts = [Path(f"deploy/{name}").read_text() for name in ("Dockerfile", "Dockerfile.binary")]
    last = [text.rpartition("FROM ${BASE}")[2] for text in texts]
    image = [re.sub(r"^COPY .*? /?quorate ", "COPY quorate ", stage, flags=re.M) for stage in last]
    report.check(image[0] == image[1], "the two Dockerfiles end in different images")
    if hadolint := find(os.path.join(os.path.dirname(sys.executable), "hadolint"), "hadolint"):
        for name in ("Dockerfile", "Dockerfile.binary"):
            if report.run(name, [hadolint, f"deploy/{name}"]) is not None:
                report.say(f"{name} is good by hadolint")
    else:
        report.skip("the Dockerfiles: hadolint is not here")


def prometheus(report):
    """Rules, their tests, the scrape jobs, the dashboard. Returns the names of metrics and where they stand."""
    promtool = find("promtool")
    if promtool:
        if report.run("alerts", [promtool, "check", "rules", "--lint-fatal", str(PROMETHEUS / "alerts.yaml")]) is not None:
            report.say("the alert rules are good by promtool")
        if report.run("alerts", [promtool, "test", "rules", str(PROMETHEUS / "alerts_test.yaml")]) is not None:
            report.say("the alert rules' tests pass")
        scrape(report, promtool)
    else:
        report.skip("the alert rules and scrape jobs: promtool is not here (Debian package prometheus)")
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    report.check(len(ids) == len(set(ids)), "the dashboard has two panels with one id")
    boxes = [panel["gridPos"] for panel in dashboard["panels"]]
    report.check(all(box["x"] + box["w"] <= 24 for box in boxes), "a panel is outside of the dashboard")
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    queries += [variable["definition"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    if promtool:
        grammar(report, promtool, [query for query in queries if not query.startswith("label_values")])
    rules = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return {"dashboard": used(queries), "alerts": used(alerts)}


def used(queries):
    return sorted({name for query in queries for name in METRIC.findall(query)})


def scrape(report, promtool):
    """Debian's promtool is built without the discovery of Kubernetes: that key is taken out for it."""
    jobs = yaml.safe_load((PROMETHEUS / "scrape.yaml").read_text())
    for job in jobs["scrape_configs"]:
        job.pop("kubernetes_sd_configs", None)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "prometheus.yaml"
        path.write_text(yaml.safe_dump(jobs))
        if report.run("scrape.yaml", [promtool, "check", "config", str(path)]) is not None:
            report.say("the scrape jobs are good by promtool, but for kubernetes_sd_configs, which it does not know")


def grammar(report, promtool, queries):
    """The dashboard's queries as rules, with Grafana's variables filled in."""
    variables = {"$__rate_interval": "1m", "$job": ".*", "$namespace": ".*"}
    filled = queries
    for name, value in variables.items():
        filled = [query.replace(name, value) for query in filled]
    rules = [{"record": f"query{n}", "expr": query} for n, query in enumerate(filled)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "queries.yaml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
        if report.run("dashboard", [promtool, "check", "rules", "--lint=none", str(path)]) is not None:
            report.say(f"the dashboard's {len(queries)} queries are good by promtool")
