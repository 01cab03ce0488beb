"""Once a day everything is compared with what was made, changing nothing; the policy decides what is mended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg

from ocifree_pipeline.automation.orphans import UNFINISHED
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.news import failing, latest_done
from ocifree_pipeline.record.standing import standing

JOB, SENSOR = "drift", "repair_drift"
CHECK = "drift"
BESIDE = frozenset({"limits_drift", "never_recreated", "guest_answers", "quorate", "ceph_health", "etcd_quorum",
                    "nodes_ready", "certificate_valid", "secrets_kept", "cilium_ok", "releases_ready",
                    "ingress_reachable", "within_allowance"})  # fmt: skip
"""Checks that look at layers which have no plan to compare with. None of them changes anything."""


def drift_job(blueprint: Blueprint, checks: Iterable[dg.AssetChecksDefinition]) -> Any:
    wanted = [key for one in checks for key in one.check_keys if key.name == CHECK or key.name in BESIDE]
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.checks(*wanted),
        description="Every layer compared with what was made, changing nothing: a plan that is not applied.",
        tags={"ocifree/deployment": blueprint.declaration.name},
    )


def drift_schedule(blueprint: Blueprint) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="daily_drift",
        job_name=JOB,
        cron_schedule="2 5 * * *",
        description="What somebody changed behind our back is found within a day. It changes nothing.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        graph = context.repository_def.asset_graph if context.repository_def else None
        wanted = [key for key in (graph.asset_check_keys if graph else ()) if key.name == CHECK or key.name in BESIDE]
        made = standing(context.instance, {key.asset_key for key in wanted})
        checks = sorted((key for key in wanted if key.asset_key in made), key=str)
        if not checks:
            return dg.SkipReason("nothing was made yet")
        return dg.RunRequest(asset_check_keys=checks)

    return daily


def repair_drift(blueprint: Blueprint) -> dg.SensorDefinition:
    policy = blueprint.declaration.drift

    @dg.sensor(
        name=SENSOR,
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=120,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="With the policy `repair`, materializes what a drift check found to differ, once for each finding. "
        f"The policy of this deployment is `{policy}`.",
    )
    def repair(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return tick(blueprint, context)

    return repair


def tick(blueprint: Blueprint, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    graph = context.repository_def.asset_graph if context.repository_def else None
    keys = [key for key in (graph.asset_check_keys if graph else ()) if key.name == CHECK]
    found = failing(context.instance, keys)
    if not found:
        return dg.SkipReason("nothing differs")
    names = ", ".join(sorted(key.asset_key.to_user_string() for key in found))
    if blueprint.declaration.drift == "report":
        return dg.SkipReason(f"{names} differ, and the policy is `report`: ocifree drift")
    mendable = sorted(key.asset_key for key, (_, is_warning) in found.items() if not is_warning)
    if not mendable:
        return dg.SkipReason(f"{names} differ, and only a person can decide on it: ocifree drift")
    if context.instance.get_runs_count(dg.RunsFilter(statuses=list(UNFINISHED))):
        return dg.SkipReason(f"{names} differ; another run is under way")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                # One run for each finding: when it does not help, asking again would not either.
                run_key=f"drift-{_finding(context.instance, key)}",
                asset_selection=[key],
                tags={"ocifree/why": "drift", "ocifree/repair": "drift"},
            )
            for key in mendable
        ]
    )


def _finding(instance: dg.DagsterInstance, key: dg.AssetKey) -> str:
    """The evaluation by which it was found."""
    check = dg.AssetCheckKey(key, CHECK)
    return f"{key.to_user_string()}-{latest_done(instance, [check])[check].id}"
