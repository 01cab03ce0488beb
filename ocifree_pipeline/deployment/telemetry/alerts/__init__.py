"""The alert rules of a deployment, as data.

`$C` in an expression stands for the matcher of its cluster, `$D` for that of the deployment. Rules that ask for metrics
which a deployment does not ship are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.telemetry.alerts.around import AROUND
from ocifree_pipeline.deployment.telemetry.alerts.cluster import CLUSTER
from ocifree_pipeline.deployment.telemetry.alerts.model import Alert

MOST_RULES = 100
RULES: tuple[Alert, ...] = (*CLUSTER, *AROUND)


def rules_for(blueprint: Blueprint) -> tuple[Alert, ...]:
    """The rules whose metrics this deployment ships."""
    has: Mapping[str, bool] = {
        "": True,
        "proxmox": blueprint.plan.topology == "proxmox-ceph",
        "gateway": blueprint.declaration.kubernetes.gateway.enabled,
        "hunt": True,
    }
    return tuple(rule for rule in RULES if has[rule.needs])


def expression(rule: Alert, blueprint: Blueprint) -> str:
    """The PromQL of a rule, for one deployment."""
    declaration = blueprint.declaration
    monitoring = declaration.monitoring
    return (
        rule.expr.replace("$C", f'cluster="{declaration.name}"')
        .replace("$D", f'deployment="{declaration.name}"')
        .replace("$SERIES", str(monitoring.series_budget))
        .replace("$LOGS", str(monitoring.logs_budget_gb))
    )
