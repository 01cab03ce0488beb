"""What watches the world, and who tells people of it."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline.automation.drift import repair_drift
from ocifree_pipeline.automation.hunt import hunt_sensors
from ocifree_pipeline.automation.instance_watch import instance_watch
from ocifree_pipeline.automation.notify import notify_sensors
from ocifree_pipeline.automation.orphans import release_orphans
from ocifree_pipeline.automation.own_metrics import own_metrics
from ocifree_pipeline.deployment.blueprint import Blueprint


def sensors(blueprint: Blueprint) -> list[Any]:
    return [
        release_orphans,
        *hunt_sensors(blueprint),
        *own_metrics(blueprint),
        instance_watch(blueprint),
        repair_drift(blueprint),
        *notify_sensors(blueprint),
    ]
