"""Every check of the graph. A check that blocks stops what hangs on its asset within the same run."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from ocifree_pipeline.checks import (
    assurance,
    drift,
    foundation,
    images,
    kubernetes,
    machines,
    monitoring,
    platform,
    proxmox,
    proxmox_ceph,
    tenancy,
)
from ocifree_pipeline.checks.budgets import budget_checks
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.foundation import PARTS
from ocifree_pipeline.record.definition import Judge, define_check

# (asset, check, what it proves). `{ampere}` and the like are every key of that kind.
_BLOCKING: tuple[tuple[str, Judge, str], ...] = (
    ("tenancy/plan", tenancy.envelope, "Added up again, every machine of the plan is within limit and allowance."),
    ("tenancy/guardrails", tenancy.quota_refuses_paid, "Oracle refuses a paid shape, and A1 is still allowed."),
    ("oci/network", foundation.plan_is_free, "Every resource of the foundation is priced at zero; unknown ones fail."),
    ("images/{image}", images.size_budget, "Under 10 GB, and all images together under 20 GB."),
    ("images/{image}", images.identity_clean, "No host keys, machine id or state of a first boot inside."),
    ("images/{image}", images.hardened, "Started once after its build: who may log in, what listens, what runs."),
    ("oci/custom_image/{custom}", images.firmware_uefi, "UEFI on A1, which starts nothing else."),
    ("machines/{machine}", machines.guest_answers, "The guest itself answered; RUNNING at Oracle proves nothing."),
    ("proxmox/cluster", proxmox.quorate, "corosync has a majority and every member is online."),
    ("proxmox/ceph", proxmox_ceph.ceph_health, "Every placement group active and clean, every OSD up and in."),
    ("talos/secrets", kubernetes.secrets_kept, "The vault holds the secrets that were recorded, and they are valid."),
    ("talos/cluster", kubernetes.etcd_quorum, "etcd has a majority of its members."),
    ("talos/kubeconfig", kubernetes.nodes_ready, "Every node is Ready, or waits for the pod network alone."),
    ("platform/cilium", platform.cilium_ok, "Cilium's agents are healthy on every node."),
)
_TELLING: tuple[tuple[str, Judge, str], ...] = (
    ("tenancy/limits", tenancy.limits_drift, "Oracle's limits are those of the previous reading, or what changed."),
    ("tenancy/guardrails", drift.of_guardrails, "Quota policy, budget and alert rule are as they were made."),
    ("oci/{part}", drift.of_foundation, "It is as it was made, or what differs is named."),
    ("machines/{machine}", machines.identity_unique, "Host key and machine id differ from every other machine."),
    ("machines/{ampere}", machines.kvm, "Whether /dev/kvm exists, probed on the node."),
    ("machines/{ampere}", machines.never_recreated, "Still the instance that was claimed; capacity may never return."),
    ("proxmox/ceph_pool", proxmox_ceph.usable_space, "The usable space is what the plan's arithmetic said."),
    ("proxmox/ceph_pool", proxmox.live_migration, "A small machine moves online in under 2 minutes and back."),
    ("proxmox/network", drift.of_guest_network, "Files and interfaces of every node are as they were made."),
    ("talos/kubeconfig", kubernetes.certificate_valid, "The kubeconfig is good for a month at least."),
    ("talos/kubeconfig", kubernetes.cluster_info, "The official Kubernetes client, given the file, is let in."),
    ("platform/gateway", platform.ingress_reachable, "The sample route answers from outside."),
    ("platform/flux", platform.releases_ready, "Every release is installed, or its message is shown."),
    ("platform/{delivered}", drift.of_platform, "A rehearsal on the cluster finds nothing that differs."),
    ("monitoring/alloy", drift.of_platform, "A rehearsal on the cluster finds nothing of the agents that differs."),
    ("monitoring/dashboards", drift.of_dashboards, "Dashboards are as they were made, or a person's is named."),
    ("monitoring/alert_rules", drift.of_alert_rules, "Rules, contact point and the way to it are as they were made."),
    ("monitoring/dashboards", monitoring.data_arrives, "Every metric that a dashboard or a rule asks for arrives."),
    ("monitoring/alloy", monitoring.metrics_arrive, "A metric labelled with this run is found at Grafana Cloud."),
    ("monitoring/alloy", monitoring.logs_arrive, "A log line labelled with this run is found at Grafana Cloud."),
    ("monitoring/alloy", monitoring.traces_arrive, "A trace labelled with this run is found at Grafana Cloud."),
    ("monitoring/alloy", monitoring.series_budget, "Active series stay within the declared budget."),
    ("monitoring/alloy", monitoring.logs_budget, "Logs a month stay within the declared budget."),
    ("assurance/cost_report", assurance.bill_is_zero, "The Usage API says 0.00 for every day up to 72 hours ago."),
    ("assurance/cost_report", assurance.within_allowance, "All that stands in the tenancy now, priced like a plan."),
    ("assurance/idle_report", assurance.reclaim_risk, "Days until Oracle may stop a machine that looks idle."),
    ("assurance/etcd_backup", assurance.restore_drill_age, "A restore was rehearsed within the last 30 days."),
)


def checks(blueprint: Blueprint, keys: frozenset[str]) -> Iterator[dg.AssetChecksDefinition]:
    """The checks of the assets that this deployment has."""
    names = {
        "image": blueprint.images,
        "custom": blueprint.custom_images,
        "machine": tuple(machine.name for machine in blueprint.plan.machines),
        "ampere": tuple(machine.name for machine in blueprint.plan.ampere),
        "part": PARTS,
        "delivered": ("cilium", "flux", "gateway", "oci_ccm", "policies", "tailscale_operator"),
    }
    for table in (_BLOCKING, _TELLING):
        for pattern, judge, describe in table:
            name = "drift" if judge.__module__ == drift.__name__ else judge.__name__
            for key in _expand(pattern, names):
                if key in keys:
                    yield define_check(blueprint, key, name, judge, describe=describe, blocking=table is _BLOCKING)
    yield from budget_checks(blueprint, keys)


def _expand(pattern: str, names: dict[str, tuple[str, ...]]) -> list[str]:
    for placeholder, values in names.items():
        if "{" + placeholder + "}" in pattern:
            return [pattern.replace("{" + placeholder + "}", value) for value in values]
    return [pattern]
