"""tofu/proxmox-cluster by the unmodified provider bpg/proxmox, on a cluster of the sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

from ocifree_pipeline.systems.proxmox.access import PRIVILEGES, ROLE, TOKEN, USER
from ocifree_pipeline_tests.real.opentofu import Site, site_of
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT
from ocifree_pipeline_tests.sandbox.proxmox.served import Served, served

MODULE = Path(__file__).parents[2] / "tofu" / "proxmox-cluster"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, 2, clustered=True) as here:
        yield here


@pytest.fixture
def site(tmp_path: Path, cluster: Served) -> Site:
    return site_of(
        MODULE,
        "bpg/proxmox",
        tmp_path,
        SSL_CERT_FILE=cluster.authority(),
        PROXMOX_VE_ENDPOINT=f"https://127.0.0.1:{cluster.port('pve1')}/",
        PROXMOX_VE_USERNAME="root@pam",
        PROXMOX_VE_PASSWORD=ROOT,
    )


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
