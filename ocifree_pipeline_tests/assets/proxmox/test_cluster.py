"""Three machines become one cluster with one network for guests, in the real graph against the sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.dying import changes

CLUSTER, NETWORK = "proxmox/cluster", "proxmox/network"


def checks(result: object) -> dict[str, bool]:
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}  # type: ignore[attr-defined]


@pytest.mark.long
def test_one_cluster_and_one_network_and_the_second_time_nothing_changes(here: Deployment) -> None:
    result = here.materialize(CLUSTER, NETWORK)
    assert checks(result) == {"quorate": True, "drift": True}
    facts, network = here.facts(CLUSTER), here.facts(NETWORK)
    assert [node["name"] for node in facts["nodes"]] == ["lab-ampere-1", "lab-ampere-2", "lab-ampere-3"]
    assert network["gateways"] == {
        "lab-ampere-1": "10.20.0.1", "lab-ampere-2": "10.20.1.1", "lab-ampere-3": "10.20.2.1",
    }  # fmt: skip
    assert network["mtu"] == 8950, "what the link carries, less the tunnel"
    assert here.sandbox.inside(phases) == {"up"}, "no card became a port of a bridge"

    with changes() as done:
        again = here.materialize(CLUSTER, NETWORK)
    assert done.operations == []
    assert checks(again) == {"quorate": True, "drift": True}
    assert [here.metadata(key)["plan"] for key in (CLUSTER, NETWORK)] == ["nothing to do"] * 2
    assert (here.facts(CLUSTER), here.facts(NETWORK)) == (facts, network)
    no_secret_is_left(here)


def phases(world: World) -> set[str]:
    from ocifree_pipeline.sandbox.machines import reach

    return {one.phase for one in reach.everyone(world)}


def no_secret_is_left(here: Deployment) -> None:
    """The token is in the vault and nowhere else; root has no password."""
    secret = vault_of("lab").get("proxmox/token").get_secret_value()
    for record in here.instance.all_logs(here.instance.get_runs()[0].run_id):
        assert secret not in str(record)
    home = Path(os.environ["DAGSTER_HOME"])
    assert not [path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
