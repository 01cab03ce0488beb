"""The numbers that were promised, as data: what may take how long or how much, and who watches it."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Budget:
    """`watched` is where it is compared: a check of the graph, or the test or bench that measures it.

    With `assets`, the seconds that making each of them took first are added up, and compared after `at` was made.
    """

    name: str
    most: float
    unit: str
    watched: str
    assets: tuple[str, ...] = ()

    @property
    def at(self) -> str | None:
        return self.assets[-1] if self.assets else None

    @property
    def words(self) -> str:
        if self.unit == "s" and self.most >= HOUR:
            return f"{self.most / HOUR:g} h"
        if self.unit == "s" and self.most >= 2 * MINUTE:
            return f"{self.most / MINUTE:g} min"
        return f"{self.most:g} {self.unit}"


IN_TIME = "in_time"
"""The name of the check that compares seconds."""

_FIRST = (
    "tenancy/limits", "tenancy/plan", "tenancy/guardrails", "oci/network", "oci/reserved_ips", "oci/image_bucket",
    "images/base_hardened_amd64", "images/base_hardened_arm64", "images/proxmox_ampere",
    "oci/custom_image/base_hardened_amd64", "oci/custom_image/proxmox_ampere", "oci/custom_image/talos_oracle",
    "machines/bastion", "machines/ampere_1", "machines/ampere_2", "machines/ampere_3", "machines/ampere_4",
    "proxmox/cluster", "proxmox/network", "proxmox/ceph", "proxmox/ceph_pool", "talos/vm_1", "talos/vm_2", "talos/vm_3",
    "talos/cluster", "talos/kubeconfig", "platform/cilium", "platform/flux", "platform/gateway",
)  # fmt: skip
"""What takes time on the way to a page that a stranger can open; those that a topology lacks add nothing. Added up, so
that it is more than anybody waits where several are made at once."""

BUDGETS: tuple[Budget, ...] = (
    Budget("a base image is built", 15 * MINUTE, "s", f"images/*:{IN_TIME}", ("images/base_hardened_arm64",)),
    Budget("that for x86_64 is built", 15 * MINUTE, "s", f"images/*:{IN_TIME}", ("images/base_hardened_amd64",)),
    Budget("the Proxmox image is built", 25 * MINUTE, "s", f"images/*:{IN_TIME}", ("images/proxmox_ampere",)),
    Budget("an image", 10, "GB", "images/*:size_budget"),
    Budget("all images together", 20, "GB", "images/*:size_budget"),
    Budget(
        "the network and the rest of the tenancy stand", 30 * MINUTE, "s", f"oci/reserved_ips:{IN_TIME}",
        ("tenancy/guardrails", "oci/network", "oci/reserved_ips"),
    ),
    Budget(
        "Kubernetes works, once its machines answer", 20 * MINUTE, "s", f"platform/cilium:{IN_TIME}",
        ("talos/cluster", "talos/kubeconfig", "platform/cilium"),
    ),
    Budget("a first deployment, but for the hunt", 4 * HOUR, "s", f"platform/gateway:{IN_TIME}", _FIRST),
    Budget("a guest moves to another node and back", 2 * MINUTE, "s", "proxmox/ceph_pool:live_migration"),
    Budget("a question about capacity is answered", 10, "s", "ocifree_pipeline_tests/cli/test_capacity.py"),
    Budget("a failure raises an alert", 5 * MINUTE, "s", "ocifree_pipeline_tests/deployment/telemetry/test_alerts.py"),
    Budget("active series", 10_000, "series", "monitoring/alloy:series_budget"),
    Budget("logs a month", 50, "GB", "monitoring/alloy:logs_budget"),
    Budget("the first charge is told", 0.01, "USD", "tenancy/guardrails, and the message `charge`"),
    Budget("the demo makes everything, after set-up, on 2 cores", 90, "s", "ocifree_pipeline_tests/e2e/test_demo.py"),
)  # fmt: skip
