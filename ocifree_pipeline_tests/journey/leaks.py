"""Everything secret of a life, looked for in everything that it left behind or showed on its way."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ocifree_pipeline.sandbox.tailscale import tailnet
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline_tests.journey.life import Life

PRIVATE = re.compile(r"(^|[._-])(key|token|secret|secretbox.*|password|client-key-data|private.*)$", re.IGNORECASE)
KEEPS_SECRETS = ("dagster/vault/", "dagster/kube/", "dagster/kubeconfig/", "dagster/talosconfig/", "dagster/talos/",
                 "sandbox/", "id_ed25519")  # fmt: skip
"""What is there to hold secrets: sealed, for its owner only, or of the world that is played."""


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


def look(life: Life) -> None:
    """No secret in the databases, logs and events of Dagster, in what was printed or passed, in temporary files."""
    secrets = _secrets(life)
    wanted = needles(secrets)
    assert len(wanted) > 40, "there is something to look for"
    assert {"talos/secrets", "talos/kubeconfig", "the SSH key"} <= set(secrets)
    assert any("dagster" in words for words in life.arguments)
    assert leaks("\n".join(life.arguments).encode(), wanted) == set()
    assert leaks("\n".join(life.shown).encode(), wanted) == set()
    seen, found = [], {}
    for path in life.folder.rglob("*"):
        name = str(path.relative_to(life.folder))
        if path.is_file() and not name.startswith(KEEPS_SECRETS):
            seen.append(path)
            leaked = leaks(path.read_bytes(), wanted)
            if leaked:
                found[name] = leaked
    assert {".db", ".log", ".yaml"} <= {path.suffix for path in seen}
    assert found == {}
    _look_at_modes(life.folder, wanted)


def _look_at_modes(folder: Path, wanted: dict[bytes, str]) -> None:
    home = folder / "dagster"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in [folder / "id_ed25519", *home.rglob("*")]:
        if path.is_file() and leaks(path.read_bytes(), wanted):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (home / "vault").iterdir():
        if path.suffix != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (home / "ssh").glob("*.known_hosts"))


def _secrets(life: Life) -> dict[str, str]:
    vault = Vault(life.folder / "dagster/vault/lab.age", life.folder / "dagster/vault/identity.txt")
    secrets = {name: vault.get(name).get_secret_value() for name in vault.names()}
    secrets["the key of the vault"] = vault.identity.read_text().strip().splitlines()[-1]
    secrets["the SSH key"] = (life.folder / "id_ed25519").read_text()
    secrets["the OAuth secret of the tailnet"] = tailnet.CLIENT[1]
    for name in ("GRAFANA_CLOUD_TOKEN", "GRAFANA_SERVICE_ACCOUNT_TOKEN"):
        secrets[name] = life.environ[name]
    for key in (life.folder / "sandbox").rglob("*.pem"):
        if "PRIVATE KEY" in key.read_text():
            secrets[f"the API key {key.name}"] = key.read_text()
    return secrets
