"""OpenTofu with a provider that lies on this machine, and a module in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.opentofu.program import Program, find_program


def opentofu() -> Program:
    """The test is skipped with the reason where it is not."""
    try:
        return find_program()
    except PreconditionMissing as error:
        pytest.skip(error.what)


def finding(provider: str, folder: Path) -> Path:
    """A configuration of OpenTofu that finds the provider; the test is skipped where it is nowhere.

    It lies where `make tools` puts it, or in the mirror that OCIFREE_TOFU_PROVIDERS names.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocifree" / "tools"
    built = Path(os.environ.get("OCIFREE_TOOLS") or cache) / "providers"
    places = [Path(one) for one in (os.environ.get("OCIFREE_TOFU_PROVIDERS"), built) if one]
    mirror = next((one for one in places if (one / "registry.opentofu.org" / provider).is_dir()), None)
    if mirror is None:
        tool = f"terraform-provider-{provider.rpartition('/')[2]}"
        pytest.skip(f"the provider {provider} is not here (`make tools TOOL={tool}` gets it)")
    configured = folder / "tofurc"
    configured.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    return configured


@dataclass
class Site:
    """The module in a folder, and the program that knows how to reach what it is for.

    Providers ask again in real time. What they wait for happens in virtual time, which `meanwhile` lets pass.
    """

    folder: Path
    environ: Mapping[str, str]
    program: str
    meanwhile: Callable[[], object] = time.time

    def tofu(self, *words: str) -> str:
        with subprocess.Popen(
            [self.program, *words],
            cwd=self.folder,
            env=dict(self.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            try:
                said, complained = self._await(running)
            finally:
                running.kill()
        assert running.returncode == 0, said + complained
        return said

    def _await(self, running: subprocess.Popen[str]) -> tuple[str, str]:
        while True:
            try:
                return running.communicate(timeout=0.3)
            except subprocess.TimeoutExpired:
                self.meanwhile()

    def given(self, **variables: object) -> None:
        (self.folder / "terraform.tfvars.json").write_text(json.dumps(variables))

    def is_sound(self, module: Path) -> None:
        """The module is formatted and valid, and its own tests pass."""
        self.tofu("fmt", "-check", "-diff", "-recursive", str(module))
        self.tofu("validate")
        self.tofu("test")

    def planned(self) -> dict[str, list[str]]:
        """What would be done to which resource."""
        self.tofu("plan", "-input=false", "-out=plan")
        planned = json.loads(self.tofu("show", "-json", "plan"))["resource_changes"]
        return {one["address"]: one["change"]["actions"] for one in planned}

    def changes(self) -> list[str]:
        return [address for address, actions in self.planned().items() if actions != ["no-op"]]


def site_of(module: Path, provider: str, folder: Path, **environ: str) -> Site:
    """A copy of the module, initialized."""
    program = opentofu().path
    configured = finding(provider, folder)
    shutil.copytree(module, folder / "module")
    given = {"HOME": str(folder), "PATH": os.environ["PATH"], "CHECKPOINT_DISABLE": "1"}
    found = Site(folder / "module", given | {"TF_CLI_CONFIG_FILE": str(configured)} | environ, program)
    found.tofu("init", "-input=false")
    return found
