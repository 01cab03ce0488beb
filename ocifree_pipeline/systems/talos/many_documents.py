"""Talos 1.14 and later: Kubernetes, discovery and the installation have documents of their own.

The older fields are still taken, but not beside the document that replaces them, so only one of the two is written.
There is no document for the network plugin that Talos would bring: without it there is none, and Cilium comes later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocifree_pipeline.systems.talos import defaults
from ocifree_pipeline.systems.talos.certificates import Pair
from ocifree_pipeline.systems.talos.defaults import kubernetes_image
from ocifree_pipeline.systems.talos.nodes import Cluster, Node
from ocifree_pipeline.systems.talos.one_document import authority, etcd
from ocifree_pipeline.systems.talos.patches import Document
from ocifree_pipeline.systems.talos.secrets import Bundle

SINCE_MINOR = 14

_ENCRYPTION_KEY = "key2"
"""The name that Talos gave to this key before it had a document; what is encrypted refers to it."""


def documents(cluster: Cluster, node: Node, bundle: Bundle) -> tuple[Document, ...]:
    everywhere = (_v1alpha1(cluster, node, bundle), *_machine(node, bundle), *_kubernetes(cluster, node, bundle))
    return (*everywhere, *_control_plane(cluster, bundle)) if node.is_control_plane else everywhere


def _v1alpha1(cluster: Cluster, node: Node, bundle: Bundle) -> Document:
    found: dict[str, Any] = {"token": bundle.bootstrap_token}
    if cluster.external_cloud_provider:
        found["externalCloudProvider"] = {"enabled": True}
    if node.is_control_plane:
        found["etcd"] = etcd(cluster, bundle)
    return {
        "version": "v1alpha1",
        "debug": False,
        "persist": True,
        "machine": {
            "type": node.role,
            "token": bundle.trustd_token,
            "ca": authority(bundle.talos, with_key=node.is_control_plane),
            "certSANs": list(cluster.alternative_names),
            "features": {"diskQuotaSupport": True},
        },
        "cluster": found,
    }


def _machine(node: Node, bundle: Bundle) -> Iterator[Document]:
    yield _document("DiscoveryServiceConfig", name="default", endpoint=defaults.DISCOVERY_SERVICE)
    yield _document("DiscoveryIdentityConfig", clusterID=bundle.cluster_id, clusterSecret=bundle.cluster_secret)
    yield _document(
        "UnattendedInstallConfig",
        installer={"image": node.installer},
        provisioning={"diskSelector": {"match": f'disk.dev_path == "{defaults.INSTALL_DISK}"'}, "wipe": False},
    )
    yield _document("ResolverConfig", hostDNS={"enabled": True, "forwardKubeDNSToHost": True})


def _kubernetes(cluster: Cluster, node: Node, bundle: Bundle) -> Iterator[Document]:
    yield _document("KubeClusterConfig", clusterName=cluster.name, endpoint=cluster.endpoint)
    yield _document("KubeNodeConfig", nodeIP={"validSubnets": [str(cluster.nodes)]}, **_standing(cluster, node))
    yield _document(
        "KubeletConfig",
        image=kubernetes_image("kubelet", cluster.kubernetes_version),
        defaultRuntimeSeccompProfileEnabled=True,
    )
    yield _document(
        "KubeNetworkConfig",
        dnsDomain=defaults.DNS_DOMAIN,
        podSubnets=[str(cluster.pods)],
        serviceSubnets=[str(cluster.services)],
    )
    if node.is_control_plane:
        yield _document("KubeAPIServerCAConfig", issuingCA=_issuing(bundle.kubernetes))
    else:
        yield _document("KubeAPIServerCAConfig", acceptedCAs=[bundle.kubernetes.certificate])
    yield _document("KubePrismConfig", port=defaults.KUBEPRISM_PORT)


def _standing(cluster: Cluster, node: Node) -> dict[str, Any]:
    """Labels and taints of a control plane: with workers beside it, it carries nothing else."""
    if not node.is_control_plane:
        return {}
    if not cluster.has_workers:
        return {"labels": {defaults.CONTROL_PLANE_LABEL: ""}}
    return {
        "labels": {defaults.CONTROL_PLANE_LABEL: "", defaults.NO_LOAD_BALANCER_LABEL: ""},
        "taints": {defaults.CONTROL_PLANE_LABEL: "NoSchedule"},
    }


def _control_plane(cluster: Cluster, bundle: Bundle) -> Iterator[Document]:
    version = cluster.kubernetes_version
    yield _document("KubeAggregatorCAConfig", issuingCA=_issuing(bundle.aggregator))
    yield _document("KubeAdmissionControlConfig", name="PodSecurity", configuration=defaults.pod_security())
    yield _document("KubeAuditPolicyConfig", configuration=defaults.audit_policy())
    yield _document("KubeAuthenticationConfig", configuration=_authentication())
    yield _document("KubeAuthorizerConfig", name="node", type="Node")
    yield _document("KubeAuthorizerConfig", name="rbac", type="RBAC")
    yield _document("KubeEtcdEncryptionConfig", config=_encryption(bundle))
    yield _document(
        "KubeServiceAccountConfig",
        issuer={"privateKey": bundle.service_account_key, "issuerURL": cluster.endpoint},
    )
    yield _document(
        "KubeAPIServerConfig",
        image=kubernetes_image("kube-apiserver", version),
        certExtraSANs=list(cluster.alternative_names),
    )
    yield _document("KubeControllerManagerConfig", image=kubernetes_image("kube-controller-manager", version))
    yield _document("KubeSchedulerConfig", image=kubernetes_image("kube-scheduler", version))
    # Cilium takes its place.
    yield _document("KubeProxyConfig", enabled=False, image=kubernetes_image("kube-proxy", version))
    yield _document("KubeCoreDNSConfig", enabled=True)


def _document(kind: str, **fields: Any) -> Document:
    return {"apiVersion": "v1alpha1", "kind": kind, **fields}


def _issuing(pair: Pair) -> dict[str, str]:
    return {"cert": pair.certificate, "key": pair.key}


def _authentication() -> dict[str, Any]:
    """Strangers may ask whether the API server is well, and nothing else."""
    paths = ("/livez", "/readyz", "/healthz")
    return {"anonymous": {"enabled": True, "conditions": [{"path": path} for path in paths]}, "jwt": []}


def _encryption(bundle: Bundle) -> dict[str, Any]:
    key = {"name": _ENCRYPTION_KEY, "secret": bundle.secretbox_key}
    return {"resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": [key]}}]}]}
