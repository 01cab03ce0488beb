"""Everything secret of a whole journey, looked for in everything that the journey left behind or showed on its way."""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import yaml

from ocifree_pipeline.sandbox.tailscale import tailnet
from ocifree_pipeline.systems.secrets.vault import Vault

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]

TOPOLOGY = "talos-native"
PRIVATE = re.compile(r"(^|[._-])(key|token|secret|secretbox.*|password|client-key-data|private.*)$", re.IGNORECASE)
KEEPS_SECRETS = ("vault/", "kube/", "kubeconfig/", "talosconfig/", "talos/")
"""Folders of the history whose files are there to hold secrets: sealed, or for their owner only."""


def pieces_of(name: str, text: str) -> Iterator[tuple[str, str]]:
    """What nobody may see of one entry of the vault: the private scalars of a document, else all of it."""
    try:
        documents = [one for one in yaml.safe_load_all(text) if isinstance(one, (dict, list))]
    except yaml.YAMLError:
        documents = []
    if not documents:
        yield from _lines(name, text)
    for document in documents:
        for path, value in _scalars(document, name):
            if PRIVATE.search(path) and len(value) >= 12:
                yield from _lines(path, value)


def _scalars(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _scalars(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _scalars(inner, path)
    elif isinstance(value, str):
        yield path, value


def _lines(name: str, text: str) -> Iterator[tuple[str, str]]:
    """PEM is looked for line by line: it may be folded, indented or escaped elsewhere."""
    for line in text.split("\n"):
        if len(line.strip()) >= 12 and not line.startswith("-----"):
            yield name, line.strip()


def needles(secrets: dict[str, str]) -> dict[bytes, str]:
    """Each secret as it is, and as base64 would show it."""
    found: dict[bytes, str] = {}
    for name, text in secrets.items():
        for piece, value in pieces_of(name, text):
            found[value.encode()] = piece
            found[base64.b64encode(value.encode()).rstrip(b"=")[:-2]] = f"{piece} in base64"
    return found


def leaks(haystack: bytes, wanted: dict[bytes, str]) -> set[str]:
    return {name for needle, name in wanted.items() if needle in haystack}


def watch_arguments(process: subprocess.Popen[str]) -> bytes:
    """The arguments and names of all processes of the run, while it runs."""
    seen: set[str] = set()
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        for one in [parent, *parent.children(recursive=True)]:
            try:
                seen.add(" ".join(one.cmdline()))
            except psutil.Error:
                continue
        time.sleep(0.1)
    return "\n".join(seen).encode()


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("journey")
    temporary = folder / "temporary"
    temporary.mkdir(mode=0o700)
    output = folder / "output.txt"
    with output.open("w") as shown:
        process = subprocess.Popen(
            [sys.executable, "-m", "ocifree_pipeline.cli.app", "demo", "--topology", TOPOLOGY],
            cwd=folder, env={**os.environ, "TMPDIR": str(temporary)}, stdout=shown, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        arguments = watch_arguments(process)
    assert process.returncode == 0, output.read_text()[-3000:]
    demo = folder / ".ocifree/demo" / TOPOLOGY
    vault = Vault(demo / "dagster/vault/lab.age", demo / "dagster/vault/identity.txt")
    secrets = {name: vault.get(name).get_secret_value() for name in vault.names()}
    secrets["the key of the vault"] = vault.identity.read_text().strip().splitlines()[-1]
    secrets["the SSH key"] = (demo / "ssh_key").read_text()
    secrets["the OAuth secret of the tailnet"] = tailnet.CLIENT[1]
    for key in (demo / "sandbox").rglob("*.pem"):
        if "PRIVATE KEY" in key.read_text():
            secrets[f"the API key {key.name}"] = key.read_text()
    return {"demo": demo, "output": output, "arguments": arguments, "temporary": temporary, "wanted": needles(secrets),
            "names": set(secrets)}  # fmt: skip


def test_there_is_something_to_look_for(journey: dict[str, Any]) -> None:
    assert len(journey["wanted"]) > 40
    assert {"talos/secrets", "talos/kubeconfig", "the SSH key"} <= journey["names"]
    public = (journey["demo"] / "ssh_key.pub").read_text().split()[1].encode()
    assert any(public in path.read_bytes() for path in (journey["demo"] / "deployment.yaml",)), "and it would be found"


def test_no_secret_in_what_was_shown_or_passed(journey: dict[str, Any]) -> None:
    assert journey["arguments"].count(b"dagster") > 0
    assert leaks(journey["arguments"], journey["wanted"]) == set()
    assert leaks(journey["output"].read_bytes(), journey["wanted"]) == set()


def test_no_secret_in_history_events_logs_or_run_configuration(journey: dict[str, Any]) -> None:
    home = journey["demo"] / "dagster"
    looked_at, found = 0, {}
    for path in home.rglob("*"):
        if path.is_file() and not str(path.relative_to(home)).startswith(KEEPS_SECRETS):
            looked_at += 1
            leaked = leaks(path.read_bytes(), journey["wanted"])
            if leaked:
                found[str(path.relative_to(home))] = leaked
    assert looked_at > 5
    assert any(path.suffix == ".db" for path in home.rglob("*")), "the databases are among them"
    assert found == {}


def test_no_secret_in_temporary_files(journey: dict[str, Any]) -> None:
    files = [path for path in journey["temporary"].rglob("*") if path.is_file()]
    assert {str(path): leaks(path.read_bytes(), journey["wanted"]) for path in files if leaks(
        path.read_bytes(), journey["wanted"])} == {}  # fmt: skip


def test_who_may_read_what(journey: dict[str, Any]) -> None:
    home = journey["demo"] / "dagster"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in [journey["demo"] / "ssh_key", *home.rglob("*")]:
        if path.is_file() and leaks(path.read_bytes(), journey["wanted"]):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (home / "vault").iterdir():
        if path.suffix != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (home / "ssh").glob("*.known_hosts"))
