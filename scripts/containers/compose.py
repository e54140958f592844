"""docker-compose.yaml in real containers: first answer, failover, operators' page, Prometheus and its alerts, and the end."""

import json

import yaml

import engine
from engine import check, container, run, status, wait_until

GATEWAY, PROMETHEUS = "http://127.0.0.1:10000", "http://127.0.0.1:9090"
PROVIDER_A = "http://127.0.0.1:8081"
# Grafana's image cannot be built from Debian's packages.
SERVICES = ["provider-a", "provider-b", "envoy", "prometheus"]
PROJECT = "playground"


def compose(root, *arguments):
    return run("podman-compose", "-p", PROJECT, "-f", "docker-compose.yaml", *arguments, cwd=root)


def script(name):
    check(status(f"{PROVIDER_A}/script/{name}", b"")[0] == 200, f"script {name}")


def answers_of(expected):
    code, text, headers = engine.chat(GATEWAY)
    return code == 200 and headers["x-llm-target"] == expected and text


def prometheus(path):
    code, text, _ = status(f"{PROMETHEUS}/api/v1/{path}")
    return json.loads(text)["data"] if code == 200 else None


def check_prometheus(root):
    def target():
        found = prometheus("targets")
        return found and [it for it in found["activeTargets"] if it["health"] == "up"]

    wait_until("Prometheus scrapes Envoy", target)
    written = yaml.safe_load((root / "envoy/alerts.yaml").read_text())
    names = {rule["alert"] for group in written["groups"] for rule in group["rules"] if "alert" in rule}

    def evaluated():
        rules = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
        return all(rule["health"] == "ok" for rule in rules) and {rule["name"] for rule in rules}

    loaded = wait_until("Prometheus evaluates every rule", evaluated)
    check(names and names <= loaded, f"alerts that are not loaded: {names - loaded}")
    wait_until("the filter's metrics arrive", lambda: prometheus("query?query=llm_failsafe_requests>0")["result"])
    return len(names)


def test(root):
    services = yaml.safe_load((root / "docker-compose.yaml").read_text())["services"]
    compose(root, "up", "-d", *SERVICES)
    try:
        text = wait_until("the first answer", lambda: answers_of("small-a"))
        check("Hello from provider-a." in text, text)
        script("500")
        text = wait_until("the other provider answers", lambda: answers_of("small-b"), 10)
        check("Hello from provider-b." in text, text)
        script("slow")
        check(status(f"{GATEWAY}/llm-failsafe/")[0] == 200, "the operators' page")
        code, report, _ = status(f"{GATEWAY}/llm-failsafe/status", headers={"authorization": "Bearer operator"})
        check(code == 200 and json.loads(report)["models"][0]["name"] == "chat", report)
        print(f"compose: answers, fails over, shows the operators' page; {check_prometheus(root)} alerts are loaded")

        envoy = f"{PROJECT}_envoy_1"
        status("http://127.0.0.1:8082/script/slow", b"")
        grace = services["envoy"]["stop_grace_period"].removesuffix("s")
        with engine.stream("127.0.0.1", 10000) as response:
            # This podman-compose does not read the grace itself.
            compose(root, "stop", "-t", grace, "envoy")
            engine.rest_is_whole(response)
        check(container(envoy, "{{.State.ExitCode}}") == "0", "Envoy's exit code is not 0")
        print("compose: a stream is whole when Envoy is stopped")
    except engine.Failed:
        for service in SERVICES:
            print(engine.logs(f"{PROJECT}_{service}_1"))
        raise
    finally:
        compose(root, "down", "-t", "1")
