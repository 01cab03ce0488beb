"""From "there is room" to a machine that answers: the sensor as Dagster calls it, the run it asks for, the record."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline_tests.assets.conftest import Deployment


def scarce(deployment: Deployment, *windows: dict[str, Any]) -> None:
    description = {"process": "trace", "windows": list(windows), "shapes": ["VM.Standard.A1.Flex"]}
    deployment.sandbox.inside(lambda world: capacity.configure(world, description))


def tick(deployment: Deployment, hours: float = 0.0) -> Any:
    """As the daemon does it, some hours later. The cursor is lost each time, so the record has to do."""
    repository = deployment.definitions.get_repository_def()
    sensor = repository.get_sensor_def("capacity_hunt_a1")
    context = dg.build_sensor_context(
        instance=deployment.instance, definitions=deployment.definitions, sensor_name=sensor.name
    )
    later = SimpleNamespace(time=lambda: time.time() + hours * 3600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ocifree_pipeline.automation.hunt.time", later)
        return sensor.evaluate_tick(context)


def test_room_becomes_machines_and_the_next_tick_has_nothing_to_do(proxmox: Deployment) -> None:
    proxmox.materialize("machines/bastion")
    scarce(proxmox)
    quiet = tick(proxmox)
    assert "AD-1 unavailable" in str(quiet.skip_message)
    assert not quiet.run_requests

    scarce(proxmox, {"ad": "*AD-1", "ocpus": 4})
    (request,) = tick(proxmox, 1).run_requests
    wanted = {key.to_user_string() for key in request.asset_selection}
    machines = sorted(key for key in wanted if key.startswith("machines/"))
    assert machines == ["machines/ampere_1", "machines/ampere_2", "machines/ampere_3"]
    proxmox.materialize(*machines)
    ads = {proxmox.facts(key)["availability_domain"][-4:] for key in machines}
    assert ads == {"AD-1"}
    launches = proxmox.sandbox.recorder.query(operation="LaunchInstance")
    assert [one.status for one in launches] == [200, 200, 200, 200], "one call for each machine: the report was right"

    done = tick(proxmox, 2)
    assert "3 machines had, nothing to hunt for" in str(done.skip_message)


def test_a_part_is_kept_and_only_the_rest_is_asked_for(proxmox: Deployment) -> None:
    proxmox.materialize("machines/bastion")
    scarce(proxmox, {"ad": "*AD-1", "ocpus": 2})
    first = tick(proxmox)
    (request,) = first.run_requests
    proxmox.materialize(*(k.to_user_string() for k in request.asset_selection if k.path[0] == "machines"), good=False)
    made = [m.name for m in proxmox.blueprint.plan.ampere if _is_made(proxmox, m.name)]
    assert 0 < len(made) < 3
    scarce(proxmox, {"ad": "*AD-1", "ocpus": 4})
    (again,) = tick(proxmox, 2).run_requests
    asked = {key.path[-1] for key in again.asset_selection if key.path[0] == "machines"}
    assert asked == {m.name for m in proxmox.blueprint.plan.ampere} - set(made)


def _is_made(deployment: Deployment, name: str) -> bool:
    return deployment.instance.get_latest_materialization_event(dg.AssetKey(["machines", name])) is not None
