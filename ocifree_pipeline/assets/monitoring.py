"""monitoring/alloy, dashboards, alert_rules: telemetry within Grafana Cloud's free tier."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.definition import define_asset

GROUP = "monitoring"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    yield define_asset(
        blueprint,
        "monitoring/alloy",
        None,
        group=GROUP,
        kinds={"grafana", "kubernetes"},
        deps=["platform/flux"],
        describe="Grafana Alloy as a release, with allow-lists that keep series and logs within the free tier.",
    )
    yield define_asset(
        blueprint,
        "monitoring/dashboards",
        None,
        group=GROUP,
        kinds={"grafana"},
        deps=["monitoring/alloy"],
        describe="Dashboards whose every query asks for metrics that this deployment really ships.",
    )
    yield define_asset(
        blueprint,
        "monitoring/alert_rules",
        None,
        group=GROUP,
        kinds={"grafana"},
        deps=["monitoring/alloy"],
        describe="Alerts with severity, context, a runbook and the first command to type.",
    )
