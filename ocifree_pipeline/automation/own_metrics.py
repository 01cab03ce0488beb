"""Every five minutes the pipeline's own numbers go to Grafana Cloud. It starts no run: a tick is enough."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.telemetry.values import grafana_cloud_of
from ocifree_pipeline.record.pipeline_metrics import samples

SECONDS = 300
NAME = "own_metrics"


def own_metrics(blueprint: Blueprint) -> Iterator[dg.SensorDefinition]:
    """None without a stack."""
    if blueprint.declaration.monitoring.grafana_cloud is None:
        return

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Cost, hunt, runs and their durations as metrics, for the dashboard `Cost and capacity`.",
        asset_selection=dg.AssetSelection.assets(["monitoring", "alloy"]),
    )
    def send_own_metrics(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            return dg.SkipReason(_sent(blueprint, context.instance))
        except OcifreeError as error:
            # The numbers are a comfort, and the next tick sends them again: no reason for a red tick.
            return dg.SkipReason(f"not sent: {error.what}: {error.why}. {error.fix}")

    yield send_own_metrics


def _sent(blueprint: Blueprint, instance: dg.DagsterInstance) -> str:
    from ocifree_pipeline.systems.grafana.remote_write import send
    from ocifree_pipeline.systems.grafana.stores import stores_of
    from ocifree_pipeline.systems.secrets.source import resolve
    from ocifree_pipeline.systems.secrets.vault import vault_of

    cloud = grafana_cloud_of(blueprint)
    now = time.time()
    found = samples(instance, blueprint, now)
    send(stores_of(cloud, resolve(cloud.token, vault_of(blueprint.declaration.name))).metrics, found, now)
    return f"sent {len(found)} numbers"
