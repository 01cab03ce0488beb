"""Daily proofs: the bill, the drift, the idle rule."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from ocifree_pipeline.automation.drift import drift_schedule
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.standing import standing


def schedules(blueprint: Blueprint) -> list[dg.ScheduleDefinition]:
    return [
        _daily("daily_cost", "assurance/cost_report", "17 6 * * *", "What the tenancy cost, once a day."),
        _daily("daily_idle", "assurance/idle_report", "32 6 * * *", "Days until Oracle would reclaim a machine."),
        _daily("daily_limits", "tenancy/limits", "47 6 * * *", "Live limits, so that a change is seen within a day."),
        _daily("daily_backup", "assurance/etcd_backup", "40 3 * * *", "A sealed snapshot of etcd, once a day."),
        drift_schedule(blueprint),
    ]


# Without these there is nothing to report on yet, and a run that fails every day would only be noise.
_AFTER = {
    "assurance/etcd_backup": "talos/cluster",
    "assurance/idle_report": "oci/network",
    "assurance/cost_report": "tenancy/limits",
    "tenancy/limits": "tenancy/limits",
}


def _is_due(key: str) -> Callable[[dg.ScheduleEvaluationContext], bool]:
    before = dg.AssetKey(_AFTER[key].split("/"))
    return lambda context: bool(standing(context.instance, {before}))


def _daily(name: str, key: str, cron: str, describe: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        target=dg.AssetSelection.assets(key.split("/")),
        cron_schedule=cron,
        description=describe,
        should_execute=_is_due(key),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
