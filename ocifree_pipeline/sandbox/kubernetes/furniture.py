"""What is in every cluster from its first moment on."""

from ocifree_pipeline.sandbox.kubernetes.admission import first_address
from ocifree_pipeline.sandbox.kubernetes.calls import MASTERS
from ocifree_pipeline.sandbox.kubernetes.client import Client
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
EVERYTHING = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
VIEW = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def furnish(client: Client, service_cidr: str) -> None:
    for name in NAMESPACES:
        _ensure(client, "v1/namespaces", {"metadata": {"name": name}})
    rbac = "rbac.authorization.k8s.io/v1"
    _ensure(client, f"{rbac}/clusterroles", {"metadata": {"name": "cluster-admin"}, "rules": EVERYTHING})
    _ensure(client, f"{rbac}/clusterroles", {"metadata": {"name": "view"}, "rules": VIEW})
    admins: Tree = {
        "metadata": {"name": "cluster-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": MASTERS}],
    }
    _ensure(client, f"{rbac}/clusterrolebindings", admins)
    for name, value in PRIORITIES.items():
        _ensure(client, "scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": value})
    service: Tree = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"provider": "kubernetes"}},
        "spec": {
            "clusterIP": first_address(service_cidr),
            "ports": [{"name": "https", "port": 443, "targetPort": 6443}],
        },
    }
    _ensure(client, "v1/services", service)


def _ensure(client: Client, resource: str, body: Tree) -> None:
    metadata = body["metadata"]
    if client.get(resource, metadata.get("namespace", ""), metadata["name"]) is None:
        client.create(resource, body)
