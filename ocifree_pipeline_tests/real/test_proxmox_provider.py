"""tofu/proxmox-cluster by the unmodified provider bpg/proxmox, on a cluster of the sandbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2
import pytest

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.opentofu.program import find_program
from ocifree_pipeline.systems.proxmox.access import PRIVILEGES, ROLE, TOKEN, USER
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT
from ocifree_pipeline_tests.sandbox.proxmox.served import Served, served

MODULE = Path(__file__).parents[2] / "tofu" / "proxmox-cluster"


def mirrors() -> list[Path]:
    """Folders in which providers lie: that of `make tools`, and what OCIFREE_TOFU_PROVIDERS names."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocifree" / "tools"
    named = [
        os.environ.get("OCIFREE_TOFU_PROVIDERS"),
        str(Path(os.environ.get("OCIFREE_TOOLS") or cache) / "providers"),
    ]
    return [Path(one) for one in named if one]


@dataclass
class Site:
    """The module in a folder, and the program that knows how to reach the cluster."""

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


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, 2, clustered=True) as here:
        yield here


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    try:
        program = find_program().path
    except PreconditionMissing as error:
        pytest.skip(error.what)
    mirror = next((one for one in mirrors() if (one / "registry.opentofu.org" / "bpg" / "proxmox").is_dir()), None)
    if mirror is None:
        pytest.skip("the provider bpg/proxmox is not here (`make tools TOOL=terraform-provider-proxmox` builds it)")
    cluster: Served = request.getfixturevalue("cluster")
    folder = tmp_path / "module"
    shutil.copytree(MODULE, folder)
    configured = tmp_path / "tofurc"
    configured.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    environ = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(configured),
        "SSL_CERT_FILE": cluster.authority(),
        "PROXMOX_VE_ENDPOINT": f"https://127.0.0.1:{cluster.port('pve1')}/",
        "PROXMOX_VE_USERNAME": "root@pam",
        "PROXMOX_VE_PASSWORD": ROOT,
    }
    found = Site(folder, environ, program)
    found.tofu("init", "-input=false")
    return found


def test_the_module_declares_what_the_pipeline_makes() -> None:
    defaults: dict[str, Any] = {}
    for block in hcl2.loads((MODULE / "variables.tf").read_text("utf-8"))["variable"]:
        for name, body in block.items():
            defaults[name.strip('"')] = body["default"]
    said = {name: value.strip('"') for name, value in defaults.items() if isinstance(value, str)}
    assert said == {"role": ROLE, "user": USER, "token": TOKEN}
    assert {one.strip('"') for one in defaults["privileges"]} == set(PRIVILEGES)


@pytest.mark.real("OpenTofu + bpg/proxmox")
@pytest.mark.timeout(300)
def test_made_once_repaired_and_removed(site: Site, cluster: Served) -> None:
    site.tofu("apply", "-input=false", "-auto-approve")
    assert site.changes() == []
    name, _, secret = json.loads(site.tofu("output", "-json", "token")).partition("=")
    user, _, token_name = name.partition("!")
    token = cluster.client(user=user, token_name=token_name, token_value=secret)
    assert {one["node"] for one in token.nodes.get()} == {"pve1", "pve2"}

    root = cluster.client()
    root.access.roles(ROLE).put(privs="VM.Audit")
    assert site.changes() == ["proxmox_virtual_environment_role.pipeline"]
    site.tofu("apply", "-input=false", "-auto-approve")
    found = next(one for one in root.access.roles.get() if one["roleid"] == ROLE)
    assert set(found["privs"].split(",")) == set(PRIVILEGES)

    site.tofu("destroy", "-input=false", "-auto-approve")
    assert USER not in {one["userid"] for one in root.access.users.get()}
    assert ROLE not in {one["roleid"] for one in root.access.roles.get()}
