"""All checks in their order; see deploy/check."""

import sys
import tempfile

import files
import kubernetes
import running
from report import Report


def main(binary):
    report = Report()
    print("files")
    environments = kubernetes.check(report)
    services, services_milvus, health = files.compose(report)
    files.helm(report)
    files.unit(report, binary)
    files.dockerfiles(report)
    metrics = files.prometheus(report)
    print("with the binary")
    with tempfile.TemporaryDirectory() as directory:
        running.settings(report, binary, directory)
        for name, replicas in environments.items():
            running.pods(report, binary, name, replicas, directory)
        running.names(report, binary, [*services.values(), *services_milvus.values(), *sum(environments.values(), [])])
        running.group(report, binary, "compose", services, health, metrics, directory)
        running.group(report, binary, "compose with milvus", services_milvus, health, {}, directory)
    return report.end()


sys.exit(main(sys.argv[1]))
