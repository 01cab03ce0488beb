"""What watches the world. A sensor that is not built yet stands stopped in the UI and fails its tick if started."""

from __future__ import annotations

from typing import Any

import dagster as dg

from ocifree_pipeline.automation.hunt import hunt_sensors
from ocifree_pipeline.automation.instance_watch import instance_watch
from ocifree_pipeline.automation.orphans import release_orphans
from ocifree_pipeline.automation.own_metrics import own_metrics
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NotYetBuilt
from ocifree_pipeline.deployment.unbuilt import missing_for


def sensors(blueprint: Blueprint) -> list[Any]:
    return [
        release_orphans,
        *hunt_sensors(blueprint),
        *own_metrics(blueprint),
        instance_watch(blueprint),
        _unbuilt_sensor("notify_failure", None, "Tells a person which asset failed, why, and what to type."),
    ]


def _unbuilt_sensor(name: str, keys: list[list[str]] | None, describe: str) -> dg.SensorDefinition:
    missing = missing_for(f"sensor:{name}")

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(*keys) if keys else dg.AssetSelection.all(),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"{describe} Not built yet: {missing}.",
    )
    def refuse(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        raise NotYetBuilt(f"sensor {name}", missing)

    return refuse
