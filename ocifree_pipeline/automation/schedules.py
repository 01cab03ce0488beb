"""Daily proofs: the bill, the drift, the idle rule. They start stopped until what they run is built."""

from __future__ import annotations

import dagster as dg

from ocifree_pipeline.automation.drift import drift_schedule
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.unbuilt import is_built


def schedules(blueprint: Blueprint) -> list[dg.ScheduleDefinition]:
    return [
        _daily("daily_cost", "assurance/cost_report", "17 6 * * *", "What the tenancy cost, once a day."),
        _daily("daily_idle", "assurance/idle_report", "32 6 * * *", "Days until Oracle would reclaim a machine."),
        _daily("daily_limits", "tenancy/limits", "47 6 * * *", "Live limits, so that a change is seen within a day."),
        drift_schedule(blueprint),
    ]


def _daily(name: str, key: str, cron: str, describe: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        target=dg.AssetSelection.assets(key.split("/")),
        cron_schedule=cron,
        description=describe,
        default_status=dg.DefaultScheduleStatus.RUNNING if is_built(key) else dg.DefaultScheduleStatus.STOPPED,
    )
