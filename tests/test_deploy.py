"""tools/deploy: the image's steps run as written, in folders of their own, and linters read the rest."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import audiorec
from audiorec.runtime import load
from tests.runtime.handmade import make

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "tools" / "deploy"


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest) of the Dockerfile."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def the(instruction: str) -> str:
    (found,) = [rest for name, rest in instructions() if name == instruction]
    return found


def copy_context(to: Path) -> None:
    """What ``COPY .`` takes, by the .dockerignore."""
    first, *rest = [x for x in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if x and x[0] != "#"]
    assert first == "*"
    for line in rest:
        if line.startswith("!"):
            source, target = ROOT / line[1:], to / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)


@pytest.mark.slow
def test_the_steps_of_the_image_make_a_server(tmp_path, speech):
    def here(command: str) -> str:
        for folder in ("/src", "/wheels", "/opt", "/model"):
            command = re.sub(rf"(?<![\w.]){folder}\b", str(tmp_path) + folder, command)
        return command

    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    copy_context(tmp_path / "src")
    for name, rest in instructions():
        if name == "RUN":
            done = subprocess.run(here(rest), shell=True, env=env, cwd=tmp_path, capture_output=True, text=True)
            if done.returncode and re.search("Connection|Temporary failure|No matching distribution", done.stderr):
                pytest.skip("the package index is out of reach")
            assert done.returncode == 0, done.stderr
    folder = make(tmp_path / "model", "rnnt")
    command = [here(word) for word in (*json.loads(the("ENTRYPOINT")), *json.loads(the("CMD")))]
    port = command.index("--port") + 1
    command[port] = "0"
    served = subprocess.Popen(
        command, env={**env, "AUDIOREC_TOKEN": "secret"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        found = re.search(r":(\d+)\n", served.stdout.readline())
        assert found, served.communicate()
        health = [here(word).replace("8000", found[1]) for word in json.loads(the("HEALTHCHECK").split("CMD ")[1])]
        assert subprocess.run(health, env=env).returncode == 0
        client = audiorec.Client(f"ws://127.0.0.1:{found[1]}", token="secret")
        samples = speech[:40000]
        assert client.transcribe(samples, 8000).text == load(folder).transcribe(samples, 8000).text != ""
    finally:
        served.terminate()
    start = time.monotonic()
    _, log = served.communicate(timeout=10)
    assert served.returncode == 0 and time.monotonic() - start < 8, log


def test_the_image_by_a_linter():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("no hadolint here")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout


def test_the_unit_by_systemd(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    unit = (DEPLOY / "audiorec.service").read_text()
    command = re.search(r"(?m)^ExecStart=(\S+) (serve .+)$", unit)
    (tmp_path / "audiorec.service").write_text(unit.replace(command[1], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "audiorec.service"], capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0 and "audiorec.service" not in done.stderr, done.stderr


def test_files_agree_with_the_command():
    """Every option that a file names is one, and grace ends before whoever stops the server loses patience."""
    options = subprocess.run(
        [sys.executable, "-c", "from audiorec.cli import main; main()", "serve", "--help"],
        env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True,
    ).stdout  # fmt: skip
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service, unit = compose["services"]["audiorec"], (DEPLOY / "audiorec.service").read_text()
    commands = [json.loads(the("CMD")), service["command"], shlex.split(re.search("(?m)^ExecStart=(.+)$", unit)[1])]
    stops = [10, int(service["stop_grace_period"][:-1]), int(re.search(r"TimeoutStopSec=(\d+)", unit)[1])]
    for command, seconds in zip(commands, stops, strict=True):
        assert all(word in options for word in command if word.startswith("--"))
        assert int(command[command.index("--grace") + 1]) < seconds
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"][0]["targets"] == ["audiorec:8000"]
    assert scrape["authorization"]["credentials_file"].endswith(compose["services"]["prometheus"]["secrets"][0])
