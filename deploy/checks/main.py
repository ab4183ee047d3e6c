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
    services, health = files.compose(report)
    files.unit(report, binary)
    files.dockerfiles(report)
    metrics = files.prometheus(report)
    print("with the binary")
    with tempfile.TemporaryDirectory() as directory:
        running.settings(report, binary, directory)
        for name, replicas in environments.items():
            running.pods(report, binary, name, replicas, directory)
        running.group(report, binary, services, health, metrics, directory)
    return report.end()


sys.exit(main(sys.argv[1]))
