"""The whole graph loads from a declaration: without network, without environment, without warnings, and quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import EXAMPLES, example, example_path
from ocifree_pipeline.deployment.loading import parse

ROOT = Path(__file__).parent.parent
LINEAGE = Path(__file__).parent / "lineage"

EVERY_ASSET = """
tenancy/limits tenancy/plan tenancy/guardrails tenancy/a1_capacity tenancy/storage_quota
oci/network oci/reserved_ips oci/image_bucket oci/dns_zone
images/base_hardened_amd64 images/base_hardened_arm64 images/proxmox_ampere images/talos_nocloud
oci/custom_image/base_hardened_amd64 oci/custom_image/proxmox_ampere
machines/bastion machines/ampere_1 machines/ampere_2 machines/ampere_3 links/tailnet
proxmox/cluster proxmox/network proxmox/ceph proxmox/ceph_pool
proxmox/tailscale_lxc_1 proxmox/tailscale_lxc_2 proxmox/tailscale_lxc_3
talos/secrets talos/machine_config_1 talos/machine_config_2 talos/machine_config_3
talos/vm_1 talos/vm_2 talos/vm_3 talos/cluster talos/kubeconfig
platform/cilium platform/gateway platform/tailscale_operator platform/policies platform/flux platform/sops_age
monitoring/alloy monitoring/dashboards monitoring/alert_rules
assurance/cost_report assurance/idle_report assurance/etcd_backup
"""

FULL = {
    "network": {"dns_zone": "lab.example.org"},
    "access": {"tailscale": {"enabled": True, "oauth": {"client_id": "env:TS_ID", "client_secret": "env:TS_SECRET"}}},
    "kubernetes": {
        "gateway": {"enabled": True},
        "tailscale_operator": {"enabled": True},
    },
}


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {
        key: merged(base.get(key) or {}, value) if isinstance(value, dict) else value for key, value in more.items()
    } | {key: value for key, value in base.items() if key not in more}


def full_blueprint() -> Blueprint:
    return blueprint_of(parse(yaml.safe_dump(merged(yaml.safe_load(example("proxmox-ceph")), FULL))))


def lineage_of(blueprint: Blueprint) -> list[dict[str, Any]]:
    graph = definitions_for(blueprint).resolve_asset_graph()
    checks: dict[dg.AssetKey, list[str]] = {}
    for check in graph.asset_check_keys:
        blocking = graph.get_check_spec(check).blocking
        checks.setdefault(check.asset_key, []).append(check.name + (" (blocking)" if blocking else ""))
    return [
        {
            "key": key.to_user_string(),
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds or ()),
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "checks": sorted(checks.get(key, [])),
        }
        for key in sorted(graph.get_all_asset_keys(), key=lambda key: key.path)
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_lineage_is_the_reviewed_one(name: str) -> None:
    """A change of the graph is a change of a file that is read in review. Write it anew with UPDATE_LINEAGE=1."""
    reviewed = LINEAGE / f"{name}.json"
    now = lineage_of(blueprint_of(parse(example(name))))
    if os.environ.get("UPDATE_LINEAGE"):
        reviewed.write_text(json.dumps(now, indent=1) + "\n")
    assert now == json.loads(reviewed.read_text())


def test_a_full_declaration_has_every_asset() -> None:
    keys = {row["key"] for row in lineage_of(full_blueprint())}
    assert keys == set(EVERY_ASSET.split())


@pytest.mark.parametrize(("asked", "kind"), [({}, "multiprocess"), ({"one_process": True}, "in_process")])
def test_a_run_may_ask_for_one_process(asked: dict[str, bool], kind: str) -> None:
    job = definitions_for(full_blueprint()).resolve_implicit_global_asset_job_def()
    taken = dg.validate_run_config(job, {"execution": {"config": asked}})
    assert list(taken["execution"]["executor"]) == [kind]


def test_every_asset_teaches_and_is_owned() -> None:
    definitions = definitions_for(full_blueprint())
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description or "") > 30, key
        assert node.owners == ["team:ocifree"], key
        assert node.group_name != "default", key
        assert node.kinds, key


IMPORT = """
import socket, sys, warnings
warnings.simplefilter("error")
def refuse(*a, **k): raise AssertionError("the network was touched while loading")
socket.socket.connect = refuse
from ocifree_pipeline.definitions import defs
loaded = set(sys.modules)
heavy = {"oci", "kubernetes", "proxmoxer", "paramiko", "asyncssh", "grpc._channel", "grpclib", "apprise"} & loaded
assert not heavy, heavy
print(len(list(defs.resolve_asset_graph().get_all_asset_keys())))
"""


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_fresh_interpreter_loads_it_with_nothing(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT],
        env={"OCIFREE_DEPLOYMENT": str(example_path(name))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.parametrize("name", ["talos-native", pytest.param("proxmox-ceph", marks=pytest.mark.long)])
def test_dagster_itself_finds_nothing_wrong(name: str, dagster_home: Path) -> None:
    environ = {**os.environ, "OCIFREE_DEPLOYMENT": str(example_path(name))}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(ROOT / "workspace.yaml")],
        env=environ, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bad_declaration_stops_the_loading_with_its_problems(tmp_path: Path) -> None:
    (tmp_path / "deployment.yaml").write_text("name: Lab!\n")
    done = subprocess.run(
        [sys.executable, "-c", "import ocifree_pipeline.definitions"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "InvalidDeclaration" in done.stderr
    assert "fix:" in done.stderr
