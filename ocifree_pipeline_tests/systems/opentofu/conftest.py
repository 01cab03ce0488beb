from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import FoundationSpec, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.sections.foundation import State
from ocifree_pipeline.systems.opentofu.adoption import Standing
from ocifree_pipeline.systems.opentofu.foundation import OpenTofuFoundation
from ocifree_pipeline.systems.opentofu.program import find_program
from ocifree_pipeline.systems.opentofu.tofu import Tofu
from ocifree_pipeline.systems.opentofu.workspace import (
    Workspace,
    environment,
    module_folder,
    passphrase_of,
    secrets_in,
    workspace_of,
)
from ocifree_pipeline.systems.secrets.vault import Vault, vault_of

TENANCY = "ocid1.tenancy.oc1..example"
CREDENTIALS = {
    "tenancy": TENANCY,
    "user": "ocid1.user.oc1..example",
    "fingerprint": "00:" * 15 + "00",
    "region": "uk-london-1",
    "key_file": "~/key.pem",
    "pass_phrase": "the-pass-phrase-of-the-key",
}


class Time:
    """Passes by itself, at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Bench:
    """The engine with a program that plays tofu, and what it was asked."""

    folder: Path
    spec: FoundationSpec
    standing: Standing = field(default_factory=lambda: Standing({}, lambda group: {}))
    said: list[str] = field(default_factory=list)
    state: State = field(default_factory=lambda: State(backend="local"))

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        source = Path(__file__).with_name("fake_tofu.py").read_text("utf-8")
        self.program = self.bin / "tofu"
        self.program.write_text(f"#!{sys.executable} -IS\n{source}", "utf-8")
        self.program.chmod(0o755)
        self.environ: dict[str, str] = {
            "PATH": f"{self.bin}:{os.defpath}",
            "DAGSTER_HOME": str(self.folder / "home"),
            "HOME": str(self.folder),
        }

    def play(self, **scenario: Any) -> None:
        (self.bin / "scenario.json").write_text(json.dumps(scenario), "utf-8")

    @property
    def vault(self) -> Vault:
        return vault_of(self.spec.deployment, self.environ)

    @property
    def workspace(self) -> Workspace:
        return workspace_of(self.spec.deployment, self.state, self.environ)

    def tofu(self, **changes: Any) -> Tofu:
        workspace = self.workspace
        with workspace.locked():
            passphrase = passphrase_of(workspace, self.vault, self.environ)
        given = environment(CREDENTIALS, workspace, passphrase, self.vault, self.environ)
        secrets = secrets_in(given, passphrase)
        made = Tofu(find_program(self.environ), workspace, given, secrets, self.said.append, 30, 5)
        return dataclasses.replace(made, **changes)

    def engine(self, **changes: Any) -> OpenTofuFoundation:
        """As a process that has just started has it."""
        return OpenTofuFoundation(
            self.spec, TENANCY, self.tofu(**changes), module_folder(), lambda: self.standing, Time()
        )

    def notes(self) -> list[dict[str, Any]]:
        path = self.bin / "calls.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def calls(self) -> list[list[str]]:
        return [one["argv"] for one in self.notes() if "argv" in one]

    def commands(self) -> list[str]:
        return [call[0] for call in self.calls()]

    def cloud(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.bin / "cloud.json").read_text("utf-8"))
        return found

    def change_cloud(self, address: str, **values: Any) -> None:
        cloud = self.cloud()
        cloud[address]["values"] |= values
        (self.bin / "cloud.json").write_text(json.dumps(cloud), "utf-8")

    def lose_from_state(self, *addresses: str) -> None:
        state = json.loads(self.workspace.state_file.read_text("utf-8"))
        kept = {address: thing for address, thing in state.items() if address not in addresses}
        self.workspace.state_file.write_text(json.dumps(kept), "utf-8")

    def secrets(self) -> Mapping[str, SecretStr]:
        return {name: self.vault.get(name) for name in self.vault.names()}


@pytest.fixture(scope="session")
def blueprint() -> Blueprint:
    return blueprint_of(parse(example("proxmox-ceph")))


@pytest.fixture(scope="session")
def spec(blueprint: Blueprint) -> FoundationSpec:
    return foundation_of(blueprint.declaration, blueprint.plan.topology, blueprint.plan.reserved_ips)


@pytest.fixture
def bench(tmp_path: Path, spec: FoundationSpec) -> Bench:
    return Bench(tmp_path, spec)
