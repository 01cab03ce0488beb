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

# (asset, check, blocking, what it proves). `{ampere}` and the like are every key of that kind.
_CHECKS: tuple[tuple[str, str, bool, str], ...] = (
    ("tenancy/limits", "limits_drift", False, "Oracle's limits are those of the previous reading, or what changed."),
    ("tenancy/plan", "envelope", True, "Added up again, every machine of the plan is within limit and allowance."),
    ("tenancy/guardrails", "quota_refuses_paid", True, "Oracle refuses a paid shape, and A1 is still allowed."),
    ("tenancy/guardrails", "drift", False, "Quota policy, budget and alert rule are as they were made."),
    ("oci/network", "plan_is_free", True, "Every resource of the foundation is priced at zero; unknown ones fail."),
    ("oci/{part}", "drift", False, "It is as it was made, or what differs is named."),
    ("images/{image}", "size_budget", True, "Under 10 GB, and all images together under 20 GB."),
    ("images/{image}", "identity_clean", True, "No host keys, machine id or state of a first boot inside."),
    ("images/{image}", "hardened", True, "Started once after its build: who may log in, what listens, what runs."),
    ("oci/custom_image/{custom}", "firmware_uefi", True, "UEFI on A1, which starts nothing else."),
    ("machines/{machine}", "guest_answers", True, "The guest itself answered; RUNNING at Oracle proves nothing."),
    ("machines/{machine}", "identity_unique", False, "Host key and machine id differ from every other machine."),
    ("machines/{ampere}", "kvm", False, "Whether /dev/kvm exists, probed on the node."),
    ("machines/{ampere}", "never_recreated", False, "Still the instance that was claimed; capacity may never return."),
    ("proxmox/cluster", "quorate", True, "corosync has a majority and every member is online."),
    ("proxmox/ceph", "ceph_health", True, "Every placement group active and clean, every OSD up and in."),
    ("proxmox/ceph_pool", "usable_space", False, "The usable space is what the plan's arithmetic said."),
    ("proxmox/ceph_pool", "live_migration", False, "A small machine moves online in under 2 minutes and back."),
    ("proxmox/network", "drift", False, "Files and interfaces of every node are as they were made."),
    ("talos/secrets", "secrets_kept", True, "The vault holds the secrets that were recorded, and they are valid."),
    ("talos/cluster", "etcd_quorum", True, "etcd has a majority of its members."),
    ("talos/kubeconfig", "nodes_ready", True, "Every node is Ready, or waits for the pod network alone."),
    ("talos/kubeconfig", "certificate_valid", False, "The kubeconfig is good for a month at least."),
    ("talos/kubeconfig", "cluster_info", False, "The official Kubernetes client, given the file, is let in."),
    ("platform/cilium", "cilium_ok", True, "Cilium's agents are healthy on every node."),
    ("platform/gateway", "ingress_reachable", False, "The sample route answers from outside."),
    ("platform/flux", "releases_ready", False, "Every release is installed, or its message is shown."),
    ("platform/{delivered}", "drift", False, "A rehearsal on the cluster finds nothing that differs."),
    ("monitoring/alloy", "drift", False, "A rehearsal on the cluster finds nothing of the agents that differs."),
    ("monitoring/dashboards", "drift", False, "Dashboards are as they were made, or a person's is named."),
    ("monitoring/alert_rules", "drift", False, "Rules, contact point and the way to it are as they were made."),
    ("monitoring/dashboards", "data_arrives", False, "Every metric that a dashboard or a rule asks for arrives."),
    ("monitoring/alloy", "metrics_arrive", False, "A metric labelled with this run is found at Grafana Cloud."),
    ("monitoring/alloy", "logs_arrive", False, "A log line labelled with this run is found at Grafana Cloud."),
    ("monitoring/alloy", "traces_arrive", False, "A trace labelled with this run is found at Grafana Cloud."),
    ("monitoring/alloy", "series_budget", False, "Active series stay within the declared budget."),
    ("monitoring/alloy", "logs_budget", False, "Logs a month stay within the declared budget."),
    ("assurance/cost_report", "bill_is_zero", False, "The Usage API says 0.00 for every day up to 72 hours ago."),
    ("assurance/cost_report", "within_allowance", False, "All that stands in the tenancy now, priced like a plan."),
    ("assurance/idle_report", "reclaim_risk", False, "Days until Oracle may stop a machine that looks idle."),
    ("assurance/etcd_backup", "restore_drill_age", False, "A restore was rehearsed within the last 30 days."),
)

_JUDGES: dict[str, Judge] = {
    "tenancy/limits:limits_drift": tenancy.limits_drift,
    "tenancy/plan:envelope": tenancy.envelope,
    "tenancy/guardrails:quota_refuses_paid": tenancy.quota_refuses_paid,
    "oci/network:plan_is_free": foundation.plan_is_free,
    "tenancy/guardrails:drift": drift.of_guardrails,
    "oci/{part}:drift": drift.of_foundation,
    "proxmox/network:drift": drift.of_guest_network,
    "platform/{delivered}:drift": drift.of_platform,
    "monitoring/alloy:drift": drift.of_platform,
    "monitoring/dashboards:drift": drift.of_dashboards,
    "monitoring/alert_rules:drift": drift.of_alert_rules,
    "assurance/cost_report:bill_is_zero": assurance.bill_is_zero,
    "assurance/cost_report:within_allowance": assurance.within_allowance,
    "assurance/idle_report:reclaim_risk": assurance.reclaim_risk,
    "assurance/etcd_backup:restore_drill_age": assurance.restore_drill_age,
    "images/{image}:size_budget": images.size_budget,
    "images/{image}:identity_clean": images.identity_clean,
    "images/{image}:hardened": images.hardened,
    "oci/custom_image/{custom}:firmware_uefi": images.firmware_uefi,
    "machines/{machine}:guest_answers": machines.guest_answers,
    "machines/{machine}:identity_unique": machines.identity_unique,
    "machines/{ampere}:kvm": machines.kvm,
    "machines/{ampere}:never_recreated": machines.never_recreated,
    "proxmox/cluster:quorate": proxmox.quorate,
    "proxmox/ceph_pool:live_migration": proxmox.live_migration,
    "proxmox/ceph:ceph_health": proxmox_ceph.ceph_health,
    "proxmox/ceph_pool:usable_space": proxmox_ceph.usable_space,
    "talos/secrets:secrets_kept": kubernetes.secrets_kept,
    "talos/cluster:etcd_quorum": kubernetes.etcd_quorum,
    "talos/kubeconfig:nodes_ready": kubernetes.nodes_ready,
    "talos/kubeconfig:certificate_valid": kubernetes.certificate_valid,
    "talos/kubeconfig:cluster_info": kubernetes.cluster_info,
    "platform/cilium:cilium_ok": platform.cilium_ok,
    "platform/gateway:ingress_reachable": platform.ingress_reachable,
    "platform/flux:releases_ready": platform.releases_ready,
    "monitoring/dashboards:data_arrives": monitoring.data_arrives,
    "monitoring/alloy:metrics_arrive": monitoring.metrics_arrive,
    "monitoring/alloy:logs_arrive": monitoring.logs_arrive,
    "monitoring/alloy:traces_arrive": monitoring.traces_arrive,
    "monitoring/alloy:series_budget": monitoring.series_budget,
    "monitoring/alloy:logs_budget": monitoring.logs_budget,
}


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
    for pattern, name, blocking, describe in _CHECKS:
        for key in _expand(pattern, names):
            if key in keys:
                yield define_check(
                    blueprint, key, name, _JUDGES[f"{pattern}:{name}"], describe=describe, blocking=blocking
                )
    yield from budget_checks(blueprint, keys)


def _expand(pattern: str, names: dict[str, tuple[str, ...]]) -> list[str]:
    for placeholder, values in names.items():
        if "{" + placeholder + "}" in pattern:
            return [pattern.replace("{" + placeholder + "}", value) for value in values]
    return [pattern]
