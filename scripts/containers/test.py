"""Real containers: docker-compose.yaml, and the pod of the Deployment for Kubernetes. scripts/test-containers.sh starts it.

Usage: test.py WORK BASE ENVOY PROMETHEUS PROGRAM. WORK is an empty folder, BASE the root of a small Debian as a tar file, and
the others are programs. It needs namespaces of its own for processes, networks and mounts.
"""

import pathlib
import subprocess
import sys
import time

import yaml

import compose
import engine
import pod

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = "localhost/base:1"
# As Envoy's image: it starts as root, and gives the user `envoy` its output.
START_AS_ENVOY = """#!/bin/sh
[ "$(id -u)" != 0 ] && exec "$@"
chown envoy:envoy /dev/stdout /dev/stderr
exec setpriv --reuid envoy --regid envoy --clear-groups -- "$@"
"""


def prepare_machine():
    """Podman keeps locks and the state of networks in these folders. Here they are private."""
    first = pathlib.Path("/proc/1/comm").read_text().strip()
    engine.check(first == "catatonit", "this must run in namespaces of its own: use scripts/test-containers.sh")
    for folder in ["/run", "/dev/shm"]:
        engine.run("mount", "-t", "tmpfs", "tmpfs", folder)
    engine.run("ip", "link", "set", "lo", "up")


def images(work, base, envoy, prometheus):
    """Images of the names in docker-compose.yaml, from Debian's packages and Envoy's own program."""
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    name = {service: f"docker.io/{it['image']}" for service, it in services.items()}
    engine.podman("import", base, BASE)
    start = work / "start.sh"
    start.write_text(START_AS_ENVOY)
    engine.build(work / "envoy", name["envoy"], f"""FROM {BASE}
RUN groupadd --gid 101 envoy && useradd --uid 101 --gid 101 --no-create-home envoy
COPY --chmod=755 envoy /usr/local/bin/envoy
COPY --chmod=755 start.sh /start.sh
ENTRYPOINT ["/start.sh"]
""", {"envoy": envoy, "start.sh": start})
    python = f"FROM {BASE}\nRUN ln -s /usr/bin/python3 /usr/local/bin/python\n"
    engine.build(work / "python", name["provider-a"], python, {})
    engine.build(work / "prometheus", name["prometheus"], f"""FROM {BASE}
COPY --chmod=755 prometheus /bin/prometheus
RUN mkdir /prometheus && chown nobody:nogroup /prometheus
# Debian's Prometheus has its data elsewhere.
RUN mkdir -p /var/lib/prometheus && ln -s /prometheus /var/lib/prometheus/metrics2
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
""", {"prometheus": prometheus})
    return name


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    work, base, envoy, prometheus, program = map(pathlib.Path, sys.argv[1:])
    began = time.monotonic()
    try:
        prepare_machine()
        name = images(work, base, envoy, prometheus)
        print(f"containers: images after {time.monotonic() - began:.0f} s", flush=True)
        compose.test(ROOT)
        pod.test(ROOT, work, name, program)
    except (engine.Failed, subprocess.SubprocessError) as error:
        sys.exit(f"containers: FAILED\n{error}")
    finally:
        # So that no control group is left.
        subprocess.run(["podman", "pod", "rm", "-f", "-a"], capture_output=True, check=False)
        subprocess.run(["podman", "rm", "-f", "-a", "-t", "0"], capture_output=True, check=False)
    print(f"containers: all good after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
