"""What an agent may ask the cluster for: its service account has the roles that its release gave it, and no others."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.sandbox.kubernetes import access, statuses
from ocifree_pipeline.sandbox.kubernetes.calls import Target as Resource
from ocifree_pipeline.sandbox.kubernetes.calls import User
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

PROXIED = "/api/v1/nodes/"


def may_discover(cluster: Cluster, pod: Tree, role: str) -> bool:
    """Whether it may list what discovery.kubernetes lists; what was written down needs no right."""
    return not role or _may(cluster, pod, "list", f"{role}s")


def may_scrape(cluster: Cluster, pod: Tree, job: str, target: Mapping[str, str]) -> bool:
    """What a kubelet and the API server ask of those who want their metrics."""
    if job in {"kubelet", "cadvisor"}:
        through_api = target.get("__metrics_path__", "").startswith(PROXIED)
        return _may(cluster, pod, "get", "nodes", "proxy" if through_api else "metrics")
    if job == "apiserver":
        try:
            access.check_path(cluster.store, _user(pod), "get", "/metrics")
        except statuses.Refusal:
            return False
    return True


def _may(cluster: Cluster, pod: Tree, verb: str, plural: str, sub: str = "") -> bool:
    try:
        access.check(cluster.store, _user(pod), verb, Resource("", "v1", plural, sub=sub))
    except statuses.Refusal:
        return False
    return True


def _user(pod: Tree) -> User:
    account = at(pod, "spec", "serviceAccountName") or "default"
    return User(f"system:serviceaccount:{pod['metadata']['namespace']}:{account}")
