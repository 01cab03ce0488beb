"""From nothing to the end in thirty days: everything that a person does, and everything that befalls one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.cli.demo import declaration_for, tenancy_for
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline_tests.assets.conftest import write_key
from ocifree_pipeline_tests.journey import leaks
from ocifree_pipeline_tests.journey.life import Life, Reaper, living

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

KILLS = 2
"""In each part of the life."""
BILLABLE = ("instance", "bootVolume", "volume", "image", "bucket", "publicIp", "vcn", "loadBalancer")
AMPERE = ["machines/ampere_1", "machines/ampere_2", "machines/ampere_3"]


def declared(folder: Path) -> dict[str, Any]:
    """Three control planes straight on Ampere, with the older allowance; images from the mirror of the sandbox."""
    _, public = write_key(folder)
    data: dict[str, Any] = yaml.safe_load(declaration_for("talos-native", public, folder / "sandbox/oci.config"))
    data["site"]["allowance"] = "always-free-2025"
    data["nodes"] = {"count": 3}
    return data


SEEDS = [2, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in (None, 1, *range(3, 7)))]


@pytest.mark.parametrize("seed", SEEDS)
def test_thirty_days(seed: int | None, tmp_path: Path) -> None:
    """With a seed, processes are killed at moments that it chooses: daemon, code server, commands, runs."""
    data = declared(tmp_path)
    with living(tmp_path, tenancy=tenancy_for(blueprint_of(parse(yaml.safe_dump(data))))) as life:
        begins(life, data)
        without_capacity(life)
        life.reaper = Reaper(seed)
        for stage in (hunted, one_node_lost, partial(upgraded, data=data), backed_up_and_restored, destroyed):
            life.reaper.left = KILLS
            stage(life)
        assert seed is None or len(life.reaper.victims) > KILLS
        leaks.look(life)


def begins(life: Life, data: dict[str, Any]) -> None:
    life.ocifree("init", "--non-interactive")
    write(life, data)
    life.ocifree("validate")
    assert "Cost: $0.00" in life.ocifree("plan")
    life.ocifree("doctor")


def write(life: Life, data: dict[str, Any]) -> None:
    (life.folder / "deployment.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def without_capacity(life: Life) -> None:
    """Oracle has room in nine days. `up` makes what can be made and says who waits."""
    opens = life.folder / "capacity.json"
    opens.write_text('[{"from": 777600, "ocpus": 16}]')
    life.ocifree("sandbox", "capacity", str(opens))
    said = life.ocifree("up", "--yes", ends=1)
    assert "The hunt takes over" in said
    states = life.states()
    assert states["machines/bastion"]["state"] == "made"
    for key in AMPERE:
        assert states[key]["state"] == "failed"
        assert states[key]["again"] == f"ocifree up --select '{key}+'"
    assert "failed" not in {row["state"] for key, row in states.items() if key not in AMPERE}


def hunted(life: Life) -> None:
    life.tend()
    life.pass_time(hours=1)
    life.settle()
    assert set(AMPERE) <= set(life.not_made())
    life.pass_time(days=9)
    life.until(lambda: not life.not_made(), "the platform")
    assert "aarch64" not in life.ocifree("ssh", "bastion", "uname", "-m")
    life.ocifree("kubeconfig")


def one_node_lost(life: Life) -> None:
    """Oracle takes one back. Nobody types anything."""
    before = life.facts("machines/ampere_2")["ocid"]
    life.oracle_takes_back("lab-ampere-2")
    life.until(lambda: life.facts("machines/ampere_2")["ocid"] != before, "another machine")
    life.until(lambda: not life.not_made(), "the platform is whole again")


def upgraded(life: Life, data: dict[str, Any]) -> None:
    for layer, key, version in (("talos", "talos_version", "1.14.2"), ("kubernetes", "kubernetes_version", "1.37.0")):
        data.setdefault("kubernetes", {})[key] = version
        write(life, data)
        life.load_again()
        life.ocifree("up", "--yes", "--select", "talos/machine_config_*")
        life.ocifree("upgrade", layer, "--yes", "lab")
        assert life.facts("talos/cluster")[key] == version
    life.ocifree("up", "--yes")
    assert life.not_made() == {}


def backed_up_and_restored(life: Life) -> None:
    """Oracle takes all of them back. The hunt finds others; what etcd held comes from the backup."""
    life.ocifree("backup")
    before = {life.facts(key)["ocid"] for key in AMPERE}
    for name in ("lab-ampere-1", "lab-ampere-2", "lab-ampere-3"):
        life.oracle_takes_back(name)
    life.until(lambda: not before & {life.facts(key)["ocid"] for key in AMPERE}, "other machines")
    life.ocifree("restore", "--yes", "lab")
    life.ocifree("up", "--yes")
    assert life.not_made() == {}


def destroyed(life: Life) -> None:
    life.pass_time(days=30 - life.age_days())
    life.settle()
    assert life.told("cost")["zero"], "no second was paid for"
    life.ocifree("destroy", "--yes", "lab")
    assert {kind: life.resources().get(kind, 0) for kind in BILLABLE} == dict.fromkeys(BILLABLE, 0)
    life.pass_time(days=4)
    life.settle()
    assert life.resources() == life.found, "nobody hunts for what was ended, and not even a name is left of it"
    bill = life.told("cost")
    assert bill["zero"]
    assert float(bill["total"]) == 0.0
    subjects = [mail["subject"] for mail in life.sandbox.call("GET", "outbox")["messages"]]
    assert [subject for subject in subjects if subject.startswith(("Budget alert", "Idle instance reclaimed"))] == []
