"""A pod of the Deployment in deploy/kubernetes, run by podman as the kubelet would run it: with its security context, its
mounted folders, its module from an image, its probes and its end.

podman 4.3 reads no manifest with an image as a volume. So this file translates the pod, and refuses fields that it does not know.
"""

import os
import subprocess
import sys
import time

import yaml

import engine
from engine import check, container, podman, status, wait_until

NETWORK, POD, PROVIDER = "llm", "gateway", "provider"
MODULE = "localhost/llm-failsafe:test"
POD_FIELDS = {
    "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds", "securityContext",
    "topologySpreadConstraints", "containers", "volumes",
}
CONTAINER_FIELDS = {
    "name", "image", "workingDir", "command", "args", "env", "ports", "startupProbe", "readinessProbe", "livenessProbe",
    "resources", "securityContext", "volumeMounts",
}
BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def known(part, fields):
    check(set(part) <= set(fields), f"fields that this test does not know: {set(part) - set(fields)}")


# ---- what the API server has ----


def objects(root, folder, program):
    """The Deployment, the ConfigMaps and the Secret of a folder that `init` wrote."""
    said = engine.run(
        program, "init", "--kubernetes", "kustomize", "--module-image", MODULE, "--key", "team-a",
        "--provider", f"openai=http://{PROVIDER}:8080/v1,A,B", "--model", "chat=openai/small", "--output", folder)
    key = next(word for word in said.split() if word.startswith("sk-llm-"))
    deployment = yaml.safe_load((folder / "deployment.yaml").read_text())
    shipped = yaml.safe_load((root / "deploy/kubernetes/deployment.yaml").read_text())
    for it in [deployment, shipped]:
        for volume in it["spec"]["template"]["spec"]["volumes"]:
            volume.get("image", {})["reference"] = MODULE
    check(deployment == shipped, "the Deployment is not the shipped one")
    secret = yaml.safe_load((folder / "keys.example.yaml").read_text())["stringData"]
    files = {}
    for it in yaml.safe_load((folder / "kustomization.yaml").read_text())["configMapGenerator"]:
        files[it["name"]] = {path.split("/")[-1]: (folder / path).read_text() for path in it["files"]}
    files["llm-failsafe-keys"] = {name: text.replace("WRITE THE KEY HERE", "sk-test") for name, text in secret.items()}
    return deployment["spec"]["template"]["spec"], files, key


# ---- what the kubelet does ----


class Mount:
    """A mounted folder. All its files change at once, by a rename of the link `..data`."""

    def __init__(self, path, files, mode, group):
        self.path, self.mode, self.group, self.version = path, mode, group, 0
        path.mkdir(parents=True)
        self.write(files)
        for name in files:
            (path / name).symlink_to(f"..data/{name}")

    def write(self, files):
        self.version += 1
        version = self.path / f"..{self.version}"
        version.mkdir()
        for name, text in files.items():
            file = version / name
            file.write_text(text)
            os.chown(file, 0, self.group)
            file.chmod(self.mode)
        new = self.path / "..data_tmp"
        new.symlink_to(version.name)
        new.rename(self.path / "..data")


def bytes_of(quantity):
    return int(quantity[:-2]) * BYTES[quantity[-2:]]


def security(pod, of_container):
    """The options for both security contexts. podman's own seccomp profile is the default of the runtime."""
    known(pod, {"runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "seccompProfile"})
    known(of_container, {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"})
    check(pod["runAsNonRoot"] and pod["runAsUser"] != 0, "the pod runs as root")
    check(pod["seccompProfile"] == {"type": "RuntimeDefault"} and not of_container["allowPrivilegeEscalation"], "security")
    options = ["--user", f"{pod['runAsUser']}:{pod['runAsGroup']}", "--group-add", str(pod["fsGroup"])]
    options += [f"--cap-drop={name}" for name in of_container["capabilities"]["drop"]]
    # Without `--read-only-tmpfs=false` podman would add places to write to.
    return [*options, "--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false"]


def variables(spec):
    """The environment of the container."""
    found = {}
    for it in spec["env"]:
        if "value" in it:
            found[it["name"]] = it["value"]
        else:
            reference = it["valueFrom"]["resourceFieldRef"]
            check(reference == {"resource": "requests.cpu", "divisor": "1"}, f"unknown: {reference}")
            found[it["name"]] = spec["resources"]["requests"]["cpu"]
    return found


class Pod:
    def __init__(self, spec, files, folder):
        known(spec, POD_FIELDS)
        (self.spec,) = spec["containers"]
        known(self.spec, CONTAINER_FIELDS)
        self.grace = spec["terminationGracePeriodSeconds"]
        self.ports = {it["name"]: it["containerPort"] for it in self.spec["ports"]}
        self.mounts = {}
        options = security(spec["securityContext"], self.spec["securityContext"])
        volumes = {it["name"]: it for it in spec["volumes"]}
        for mount in self.spec["volumeMounts"]:
            known(mount, {"name", "mountPath", "readOnly"})
            options += self.volume(volumes[mount["name"]], mount, files, folder, spec["securityContext"]["fsGroup"])
        environment = variables(self.spec)
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        resources = self.spec["resources"]
        options += ["--cpu-shares", str(int(resources["requests"]["cpu"]) * 1024)]
        options += ["--memory", str(bytes_of(resources["limits"]["memory"]))]
        words = self.spec["command"] + self.spec["args"]
        for name, value in environment.items():
            words = [word.replace(f"$({name})", value) for word in words]
        podman("run", "-d", "--name", POD, "--network", NETWORK, "--workdir", self.spec["workingDir"], *options,
               "--entrypoint", words[0], f"docker.io/{self.spec['image']}", *words[1:])
        self.address = container(POD, f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}")
        self.gateway = f"http://{self.address}:{self.ports['http']}"

    def volume(self, volume, mount, files, folder, group):
        path = mount["mountPath"]
        if "emptyDir" in volume:
            check(not mount.get("readOnly"), path)
            return ["--tmpfs", f"{path}:rw,mode=1777,size={bytes_of(volume['emptyDir']['sizeLimit'])}"]
        check(mount["readOnly"], f"{path} can be written")
        if "image" in volume:
            return ["--mount", f"type=image,source={volume['image']['reference']},destination={path}"]
        if "secret" in volume:
            name, mode = volume["secret"]["secretName"], volume["secret"]["defaultMode"]
        else:
            name, mode = volume["configMap"]["name"], 0o644
        self.mounts[mount["name"]] = Mount(folder / mount["name"], files[name], mode, group)
        return ["--volume", f"{folder / mount['name']}:{path}:ro"]

    def probe(self, name):
        get = self.spec[name]["httpGet"]
        return status(f"http://{self.address}:{self.ports[get['port']]}{get['path']}")[0]

    def start(self):
        """Probes until the pod has started, as often as the Deployment allows. Returns how long it took."""
        probe, began = self.spec["startupProbe"], time.monotonic()
        for _ in range(probe["failureThreshold"]):
            if self.probe("startupProbe") == 200:
                return time.monotonic() - began
            time.sleep(probe["periodSeconds"])
        raise engine.Failed("the startup probe has failed too often")


# ---- the test ----


def check_security(pod):
    """The kernel shows that the security context is in force."""
    of_process = podman("exec", POD, "cat", "/proc/1/status")
    found = dict(line.split(":\t", 1) for line in of_process.splitlines() if ":\t" in line)
    wanted = {"Uid": "101\t101\t101\t101", "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    check(wanted.items() <= found.items(), of_process)
    for path in ["/", pod.spec["workingDir"], "/etc", "/opt/llm-failsafe", "/run", "/var/tmp"]:
        tried = subprocess.run(["podman", "exec", POD, "touch", f"{path}/written"], capture_output=True, text=True, check=False)
        check("Read-only" in tried.stderr or "Permission" in tried.stderr, f"{path}: {tried.stderr}")
    podman("exec", POD, "touch", "/tmp/written")


def asks_model(pod, key, model):
    code, _, headers = engine.chat(pod.gateway, key)
    return code == 200 and headers["x-llm-model"] == model


def check_change(pod, files, key):
    """A changed ConfigMap reaches the filter without a restart."""
    policy = files["llm-failsafe-filter"]["filter.yaml"]
    check("model: small" in policy, policy)
    pod.mounts["filter"].write({"filter.yaml": policy.replace("model: small", "model: large")})
    wait_until("the new policy is used", lambda: asks_model(pod, key, "large"))


def check_end(pod, key):
    """SIGTERM, as the kubelet sends it, while a stream is open."""
    with engine.stream(pod.address, pod.ports["http"], key) as response:
        began = time.monotonic()
        podman("kill", "--signal", "TERM", POD)
        wait_until("readiness fails", lambda: pod.probe("readinessProbe") == 503)
        check(pod.probe("livenessProbe") == 200, "the pod is not live while it drains")
        check(pod.probe("startupProbe") == 200, "new connections are refused before load balancers have noticed")
        engine.rest_is_whole(response)
    wait_until("Envoy ends", lambda: container(POD, "{{.State.Status}}") in ["stopped", "exited"])
    code, took = container(POD, "{{.State.ExitCode}}"), time.monotonic() - began
    check(code == "0" and took < pod.grace, f"exit code {code} after {took:.0f} s")
    check("every request has finished" in engine.logs(POD), engine.logs(POD))
    return took


def test(root, work, images, program):
    version, packed = "test", work / "module.tar"
    engine.run(sys.executable, "scripts/release/image.py", "dist/llm_failsafe.wasm", version, "none", packed, cwd=root)
    podman("tag", podman("pull", "-q", f"oci-archive:{packed}"), MODULE)
    podman("network", "create", NETWORK)
    podman("run", "-d", "--name", PROVIDER, "--network", NETWORK, "--volume",
           f"{root}/envoy/playground/provider.py:/provider.py:ro", images["provider-a"], "python", "/provider.py", PROVIDER)
    spec, files, key = objects(root, work / "manifests", program)
    try:
        pod = Pod(spec, files, work / "mounts")
        ready = pod.start()
        for probe in ["readinessProbe", "livenessProbe"]:
            wait_until(probe, lambda name=probe: pod.probe(name) == 200)
        check_security(pod)
        wait_until("the first answer", lambda: asks_model(pod, key, "small"))
        print(f"pod: ready after {ready:.0f} s, confined as its security context says, and answers")
        check_change(pod, files, key)
        print("pod: takes a changed ConfigMap while it runs")
        address = container(PROVIDER, f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}")
        check(status(f"http://{address}:8080/script/slow", b"")[0] == 200, "the provider's script")
        print(f"pod: loses no stream, and ends {check_end(pod, key):.0f} s after SIGTERM")
    except engine.Failed:
        print(engine.logs(POD))
        raise
