"""Talos 1.12 and 1.13: nearly everything is in the document `version: v1alpha1`."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline.systems.talos import defaults
from ocifree_pipeline.systems.talos.certificates import Pair
from ocifree_pipeline.systems.talos.defaults import kubernetes_image
from ocifree_pipeline.systems.talos.nodes import Cluster, Node
from ocifree_pipeline.systems.talos.patches import Document
from ocifree_pipeline.systems.talos.secrets import Bundle, encoded


def documents(cluster: Cluster, node: Node, bundle: Bundle) -> tuple[Document, ...]:
    return (
        {
            "version": "v1alpha1",
            "debug": False,
            "persist": True,
            "machine": _machine(cluster, node, bundle),
            "cluster": _cluster(cluster, node, bundle),
        },
    )


def _machine(cluster: Cluster, node: Node, bundle: Bundle) -> dict[str, Any]:
    machine: dict[str, Any] = {
        "type": node.role,
        "token": bundle.trustd_token,
        "ca": authority(bundle.talos, with_key=node.is_control_plane),
        "certSANs": list(cluster.alternative_names),
        "kubelet": {
            "image": kubernetes_image("kubelet", cluster.kubernetes_version),
            "defaultRuntimeSeccompProfileEnabled": True,
            "disableManifestsDirectory": True,
            "nodeIP": {"validSubnets": [str(cluster.nodes)]},
        },
        "install": {"disk": defaults.INSTALL_DISK, "image": node.installer, "wipe": False, "grubUseUKICmdline": True},
        "features": {
            "diskQuotaSupport": True,
            "kubePrism": {"enabled": True, "port": defaults.KUBEPRISM_PORT},
            "hostDNS": {"enabled": True, "forwardKubeDNSToHost": True},
        },
    }
    if node.is_control_plane and cluster.has_workers:
        machine["nodeLabels"] = {defaults.NO_LOAD_BALANCER_LABEL: ""}
    return machine


def _cluster(cluster: Cluster, node: Node, bundle: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": bundle.cluster_id,
        "secret": bundle.cluster_secret,
        "clusterName": cluster.name,
        "controlPlane": {"endpoint": cluster.endpoint},
        "token": bundle.bootstrap_token,
        "ca": authority(bundle.kubernetes, with_key=node.is_control_plane),
        "network": {
            "dnsDomain": defaults.DNS_DOMAIN,
            "podSubnets": [str(cluster.pods)],
            "serviceSubnets": [str(cluster.services)],
            "cni": {"name": "none"},
        },
        # Cilium takes the place of both.
        "proxy": {"disabled": True},
        "discovery": {"enabled": True, "registries": {"kubernetes": {"disabled": True}, "service": {}}},
    }
    if cluster.external_cloud_provider:
        found["externalCloudProvider"] = {"enabled": True}
    return found | (_control_plane(cluster, bundle) if node.is_control_plane else {})


def _control_plane(cluster: Cluster, bundle: Bundle) -> dict[str, Any]:
    version = cluster.kubernetes_version
    return {
        "secretboxEncryptionSecret": bundle.secretbox_key,
        "aggregatorCA": authority(bundle.aggregator, with_key=True),
        "serviceAccount": {"key": encoded(bundle.service_account_key)},
        "apiServer": {
            "image": kubernetes_image("kube-apiserver", version),
            "certSANs": list(cluster.alternative_names),
            "admissionControl": [{"name": "PodSecurity", "configuration": defaults.pod_security()}],
            "auditPolicy": defaults.audit_policy(),
        },
        "controllerManager": {"image": kubernetes_image("kube-controller-manager", version)},
        "scheduler": {"image": kubernetes_image("kube-scheduler", version)},
        "etcd": etcd(cluster, bundle),
        "allowSchedulingOnControlPlanes": not cluster.has_workers,
    }


def etcd(cluster: Cluster, bundle: Bundle) -> dict[str, Any]:
    return {"ca": authority(bundle.etcd, with_key=True), "advertisedSubnets": [str(cluster.nodes)]}


def authority(pair: Pair, *, with_key: bool) -> dict[str, str]:
    """Workers get the certificate alone: they check with it and sign nothing."""
    return {"crt": encoded(pair.certificate), "key": encoded(pair.key) if with_key else ""}
