"""From nothing to the end in thirty days: everything that a person does, and everything that befalls one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.cli.demo import declaration_for, tenancy_for
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline_tests.assets.conftest import write_key
from ocifree_pipeline_tests.journey.life import Life, living

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

AMPERE = ["machines/ampere_1", "machines/ampere_2", "machines/ampere_3"]


def declared(folder: Path) -> dict[str, Any]:
    """Three control planes straight on Ampere, with the older allowance; images from the mirror of the sandbox."""
    _, public = write_key(folder)
    data: dict[str, Any] = yaml.safe_load(declaration_for("talos-native", public, folder / "sandbox/oci.config"))
    data["site"]["allowance"] = "always-free-2025"
    data["nodes"] = {"count": 3}
    return data


def test_thirty_days(tmp_path: Path) -> None:
    data = declared(tmp_path)
    with living(tmp_path, name="lab", tenancy=tenancy_for(blueprint_of(parse(yaml.safe_dump(data))))) as life:
        begins(life, data)
        without_capacity(life)
        hunted(life)


def begins(life: Life, data: dict[str, Any]) -> None:
    life.ocifree("init", "--non-interactive")
    (life.folder / "deployment.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    life.ocifree("validate")
    assert "Cost: $0.00" in life.ocifree("plan")
    life.ocifree("doctor")


def without_capacity(life: Life) -> None:
    """Oracle has room in nine days. `up` makes what can be made and says who waits."""
    opens = life.folder / "capacity.json"
    opens.write_text('[{"from": 777600, "ocpus": 4}]')
    life.ocifree("sandbox", "capacity", str(opens), "--directory", str(life.sandbox.directory))
    said = life.ocifree("up", "--yes", ends=1)
    states = life.states()
    assert states["machines/bastion"]["state"] == "made", said
    assert {states[key]["state"] for key in AMPERE} == {"failed"}, said
    print(said, states)


def hunted(life: Life) -> None:
    life.tend()
    life.pass_time(hours=1)
    life.settle()
    life.pass_time(days=9)
    life.until(lambda: not life.not_made(), "a platform")
