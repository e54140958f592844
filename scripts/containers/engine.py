"""podman, as the tests use it: commands, images, and requests to containers."""

import contextlib
import http.client
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

SOON = 60
PAUSE = 0.2


class Failed(Exception):
    """What a test found wrong."""


def run(*command, **options):
    """Runs a command to its end, and returns its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOON * 3, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def logs(name):
    """The end of what a container printed."""
    done = subprocess.run(["podman", "logs", "--tail", "20", name], capture_output=True, text=True, check=False)
    return f"--- {name}\n{done.stdout}{done.stderr}"


def podman(*arguments):
    return run("podman", *arguments)


def check(holds, what):
    if not holds:
        raise Failed(what)


def wait_until(what, holds, limit=SOON):
    """Waits until something is true, and returns it."""
    deadline = time.monotonic() + limit
    while not (found := holds()):
        check(time.monotonic() < deadline, f"{what}: not within {limit} s")
        time.sleep(PAUSE)
    return found


# ---- images ----


def build(folder, tag, dockerfile, files):
    """An image with these files beside its Dockerfile."""
    folder.mkdir()
    for name, source in files.items():
        shutil.copy(source, folder / name)
    (folder / "Dockerfile").write_text(dockerfile)
    podman("build", "-q", "-t", tag, folder)


# ---- requests ----


def status(url, data=None, headers=None):
    """The status of a response, its text and its headers. The status is 0 if none comes."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=SOON) as response:
            return response.status, response.read().decode(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers
    except (OSError, http.client.HTTPException):
        return 0, "", {}


def chat(base, key=None):
    """Asks the gateway, and returns the response as `status` does."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    return status(f"{base}/v1/chat/completions", json.dumps(body).encode(), headers)


@contextlib.contextmanager
def stream(host, port, key=None):
    """A stream whose first event has arrived."""
    connection = http.client.HTTPConnection(host, port, timeout=SOON)
    body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    try:
        check(response.status == 200 and response.readline().startswith(b"data: "), f"no stream: {response.status}")
        yield response
    finally:
        connection.close()


def rest_is_whole(response):
    try:
        rest = response.read().decode()
    except http.client.HTTPException as error:
        raise Failed(f"the stream was cut: {error!r}") from error
    check(rest.endswith("data: [DONE]\n\n"), f"the stream is not whole: {rest}")


def container(name, what):
    """A part of what podman knows of a container."""
    return podman("inspect", "--format", what, name)
