"""What a node takes from its configuration once it runs, in whichever of the two dialects that is written.

Whether the configuration may be taken at all is decided before (``machines.talos_configuration``).
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

import yaml

from ocifree_pipeline.sandbox.machines.talos_configuration import CONTROL_PLANES, Document

DEFAULT_PODS, DEFAULT_SERVICES = "10.244.0.0/16", "10.96.0.0/12"
NO_SCHEDULE = ("node-role.kubernetes.io/control-plane", "", "NoSchedule")
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"


@dataclass(frozen=True, slots=True)
class Settings:
    """``kubernetes_ca`` is certificate and key in PEM; the key is empty on a worker."""

    is_control_plane: bool
    identity: str
    cluster: str
    endpoint: str
    pods: str
    services: str
    kubelet: str
    api_server: str
    installer: str
    kubernetes_ca: tuple[str, str] = field(repr=False)
    api_names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    external_cloud_provider: bool = False
    inline_manifests: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_manifests: tuple[str, ...] = ()


@lru_cache(maxsize=32)
def settings_of(text: str) -> Settings:
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    main = next(one for one in documents if "kind" not in one)
    machine, cluster = main.get("machine") or {}, main.get("cluster") or {}

    def document(kind: str) -> Document:
        return next((one for one in documents if one.get("kind") == kind), {})

    is_control_plane = machine.get("type") in CONTROL_PLANES
    network = document("KubeNetworkConfig") or cluster.get("network") or {}
    certificate, key = _authority(document("KubeAPIServerCAConfig"), cluster.get("ca") or {})
    identifier = document("DiscoveryIdentityConfig").get("clusterID") or cluster.get("id") or ""
    endpoint = str(document("KubeClusterConfig").get("endpoint") or (cluster.get("controlPlane") or {}).get("endpoint"))
    services = _first(network.get("serviceSubnets"), DEFAULT_SERVICES)
    standing = document("KubeNodeConfig")
    labels = {**(machine.get("nodeLabels") or {}), **(standing.get("labels") or {})}
    return Settings(
        is_control_plane=is_control_plane,
        identity=hashlib.sha256(f"{identifier}\n{certificate}".encode()).hexdigest()[:16],
        cluster=str(document("KubeClusterConfig").get("clusterName") or cluster.get("clusterName") or "talos"),
        endpoint=endpoint,
        pods=_first(network.get("podSubnets"), DEFAULT_PODS),
        services=services,
        kubelet=_tag(document("KubeletConfig").get("image") or (machine.get("kubelet") or {}).get("image")),
        api_server=_tag(document("KubeAPIServerConfig").get("image") or (cluster.get("apiServer") or {}).get("image")),
        installer=_tag(
            (document("UnattendedInstallConfig").get("installer") or machine.get("install") or {}).get("image")
        ),
        kubernetes_ca=(certificate, key),
        api_names=tuple(
            str(one)
            for one in (
                urlsplit(endpoint).hostname or "",
                ip_network(services)[1],
                *(document("KubeAPIServerConfig").get("certExtraSANs") or ()),
                *((cluster.get("apiServer") or {}).get("certSANs") or ()),
            )
        ),
        labels={name: str(value) for name, value in labels.items()},
        taints=_taints(standing, cluster) if is_control_plane else (),
        external_cloud_provider=bool((cluster.get("externalCloudProvider") or {}).get("enabled")),
        inline_manifests=_inline(documents, cluster),
        extra_manifests=_extra(documents, cluster),
    )


def _taints(standing: Document, cluster: Document) -> tuple[tuple[str, str, str], ...]:
    """A control plane is tainted unless the configuration lets it carry everything."""
    if standing:
        return tuple((key, *_effect(str(value))) for key, value in (standing.get("taints") or {}).items())
    # Our control planes without workers say so; Talos' own default is to keep them to themselves.
    return () if cluster.get("allowSchedulingOnControlPlanes", False) else (NO_SCHEDULE,)


def _effect(text: str) -> tuple[str, str]:
    value, _, effect = text.rpartition(":")
    return value, effect


def _inline(documents: list[Document], cluster: Document) -> dict[str, str]:
    found = {one["name"]: str(one.get("contents", "")) for one in cluster.get("inlineManifests") or ()}
    for one in documents:
        if one.get("kind") == "KubeInlineManifestConfig":
            found[str(one["name"])] = str(one.get("manifest", ""))
    return found


def _extra(documents: list[Document], cluster: Document) -> tuple[str, ...]:
    named = [str(one["url"]) for one in documents if one.get("kind") == "KubeExternalManifestConfig"]
    return (*map(str, cluster.get("extraManifests") or ()), *named)


def _authority(newer: Document, older: Mapping[str, Any]) -> tuple[str, str]:
    if issuing := newer.get("issuingCA"):
        return str(issuing["cert"]), str(issuing["key"])
    if accepted := newer.get("acceptedCAs"):
        return _as_text(accepted[0]), ""
    return _decoded(older.get("crt")), _decoded(older.get("key"))


def _as_text(found: Any) -> str:
    return str(found.get("cert") if isinstance(found, dict) else found)


def _decoded(text: Any) -> str:
    return base64.b64decode(text).decode() if text else ""


def _first(found: Any, default: str) -> str:
    return str(found[0]) if isinstance(found, list) and found else default


def _tag(image: Any) -> str:
    return str(image or "").rpartition(":")[2] if ":" in str(image or "") else ""
