"""What both dialects of the configuration say alike; most of it Talos would set by itself."""

from __future__ import annotations

from typing import Any

INSTALL_DISK = "/dev/sda"
"""Oracle's paravirtualized boot volume, and the first SCSI disk of a Proxmox guest."""
DNS_DOMAIN = "cluster.local"
KUBEPRISM_PORT = 7445
"""On every node, a way to all API servers at once; Cilium and the kubelet take it instead of the endpoint."""
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
NO_LOAD_BALANCER_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
DISCOVERY_SERVICE = "https://discovery.talos.dev/"

_REGISTRIES = {"kubelet": "ghcr.io/siderolabs"}


def kubernetes_image(component: str, version: str) -> str:
    return f"{_REGISTRIES.get(component, 'registry.k8s.io')}/{component}:v{version}"


def pod_security() -> dict[str, Any]:
    """Baseline for every namespace but kube-system, warnings where it is not restricted."""
    levels = {"enforce": "baseline", "audit": "restricted", "warn": "restricted"}
    return {
        "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
        "kind": "PodSecurityConfiguration",
        "defaults": levels | {f"{mode}-version": "latest" for mode in levels},
        "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
    }


def audit_policy() -> dict[str, Any]:
    """Who did what, without what was in it."""
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}
