"""The kustomizations: rendered, valid by the schemas, and consistent with themselves.

Promises: what is rendered here is what `kubectl apply -k` sends. Left out on purpose: a real API server (quotas,
admission, defaults).
"""

import subprocess
from pathlib import Path

import kubernetes_validate
import yaml

from report import find

ROOT = Path("deploy/kubernetes")
# The oldest release that knows all fields that are used, and the newest known one.
VERSIONS = ["1.29", "1.37"]
# Seconds of an orderly stop beside the drain: hand-over, closing the ports, stopping the replica.
STOP_SECONDS = 25


def renderer():
    """The command that renders a directory, without the directory."""
    if kubectl := find("kubectl"):
        return [kubectl, "kustomize"]
    if kustomize := find("kustomize"):
        return [kustomize, "build"]
    if go := find("go"):
        return [go, "run", "sigs.k8s.io/kustomize/kustomize/v5@v5.5.0", "build"]
    return None


def check(report):
    """Checks all kustomizations; returns the environment of each replica of each, for the running checks."""
    command = renderer()
    if command is None:
        report.skip("the Kubernetes manifests: neither kubectl nor kustomize nor go is here to render them")
        return {}
    environments = {}
    for directory in [ROOT / "base", *sorted((ROOT / "overlays").iterdir())]:
        done = subprocess.run([*command, str(directory)], capture_output=True, text=True)
        if done.returncode != 0:
            report.fail(f"{directory}: {done.stderr.strip()}")
            continue
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        validate(report, directory, documents)
        environments[directory.name] = consistent(report, directory.name, documents)
        report.say(f"{directory}: {len(documents)} objects are valid for Kubernetes {' and '.join(VERSIONS)}")
    return environments


def validate(report, directory, documents):
    for document in documents:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:  # Each kind has a class of its own, and all of them are wrong.
                what = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
                report.fail(f"{directory}: {what} for {version}: {getattr(error, 'message', error)}")


def consistent(report, name, documents):
    """What no schema says. Returns the replicas' environments."""
    of = lambda kind: {d["metadata"]["name"]: d for d in documents if d["kind"] == kind}
    (stateful,) = of("StatefulSet").values()
    spec = stateful["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    services = of("Service")
    wrong = lambda good, line: report.check(good, f"{name}: {line}")

    peers = services.get(spec["serviceName"], {}).get("spec", {})
    wrong(peers.get("clusterIP") == "None", "the set's service is not headless")
    wrong(peers.get("publishNotReadyAddresses"), "replicas that are not ready have no address")
    wrong(spec["podManagementPolicy"] == "Parallel", "replicas wait for each other at the start")

    ports = {port["name"] for port in container["ports"]}
    selectors = [(s, d["spec"]["selector"]) for s, d in services.items()]
    selectors += [("budget", d["spec"]["selector"]["matchLabels"]) for d in of("PodDisruptionBudget").values()]
    selectors += [("policy", d["spec"]["podSelector"]["matchLabels"]) for d in of("NetworkPolicy").values()]
    selectors += [("the set", spec["selector"]["matchLabels"])]
    for what, selector in selectors:
        wrong(selector.items() <= labels.items(), f"{what} does not select the replicas")
    for service, document in services.items():
        for port in document["spec"]["ports"]:
            wrong(port["targetPort"] in ports, f"service {service} has no such port: {port['targetPort']}")
    for policy in of("NetworkPolicy").values():
        open_ports = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        wrong(open_ports == ports, f"the policy opens {sorted(open_ports)}, the replica has {sorted(ports)}")
    for probe, path in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        wrong(container[probe]["httpGet"] == {"path": path, "port": "http"}, f"{probe} does not ask {path}")
    wrong(pod["enableServiceLinks"] is False, "variables of services would be taken for settings")
    safe = container["securityContext"]
    wrong(safe["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"], "it may do too much")
    volumes = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    wrong(set(mounts) == volumes, "the mounts are not the claims")

    replicas = [environment(container["env"], f"quorate-{n}", "some-namespace") for n in range(spec["replicas"])]
    for each in replicas:
        domain, size = each.get("QUORATE_PEERS_DNS"), each.get("QUORATE_GROUP_SIZE")
        wrong(domain == f"{spec['serviceName']}.some-namespace.svc", f"the pods are not at their names under {domain}")
        wrong(size == str(len(replicas)), f"{size} replicas form the group, but there are {len(replicas)}")
        wrong("QUORATE_REPLICAS" not in each, "a list of replicas stands beside their domain")
        data = Path(each["QUORATE_DATA_DIR"])
        wrong(data.parent in map(Path, mounts.values()), f"{data} is not directly in a volume")
        stop = STOP_SECONDS + int(each.get("QUORATE_DRAIN_MS", "5000")) / 1000
        wrong(pod["terminationGracePeriodSeconds"] > stop, "a stop may be cut short")
    return replicas


def environment(entries, pod, namespace):
    """As the kubelet computes it: $(NAME) is replaced only when NAME stands before."""
    fields = {"metadata.name": pod, "metadata.namespace": namespace}
    known = {}
    for entry in entries:
        if "value" in entry:
            value = entry["value"]
            for name, earlier in known.items():
                value = value.replace(f"$({name})", earlier)
        else:
            value = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        known[entry["name"]] = value
    return known
