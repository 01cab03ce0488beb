"""OpenTofu with a provider that lies on this machine, and a module in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
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
    """The module in a folder, and the program that knows how to reach what it is for."""

    folder: Path
    environ: Mapping[str, str]
    program: str

    def tofu(self, *words: str) -> str:
        done = subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            env=dict(self.environ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def changes(self) -> list[str]:
        self.tofu("plan", "-input=false", "-out=plan")
        planned = json.loads(self.tofu("show", "-json", "plan"))["resource_changes"]
        return [one["address"] for one in planned if one["change"]["actions"] != ["no-op"]]


def site_of(module: Path, provider: str, folder: Path, **environ: str) -> Site:
    """A copy of the module, initialized."""
    program = opentofu().path
    configured = finding(provider, folder)
    shutil.copytree(module, folder / "module")
    given = {"HOME": str(folder), "PATH": os.environ["PATH"], "CHECKPOINT_DISABLE": "1"}
    found = Site(folder / "module", given | {"TF_CLI_CONFIG_FILE": str(configured)} | environ, program)
    found.tofu("init", "-input=false")
    return found
