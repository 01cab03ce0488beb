"""What Talos and people bring to a cluster first: Cilium by a job, Flux and the kinds of the Gateway API by address."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE, Served

FLUX = "https://github.com/fluxcd/flux2/releases/download/v2.9.4/install.yaml"
GATEWAY_API = "https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml"
CILIUM = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: cilium-install, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cilium-install}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: cilium-install, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-install, namespace: kube-system}
data:
  values.yaml: |
    operator: {replicas: 1}
    gatewayAPI: {enabled: true, hostNetwork: {enabled: true}, gatewayClass: {create: "true"}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: cilium-install, namespace: kube-system}
spec:
  template:
    spec:
      restartPolicy: OnFailure
      serviceAccountName: cilium-install
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers:
        - name: install
          image: quay.io/cilium/cilium-cli:v0.19.7
          command: [cilium, install, --version=v1.20.0, --values=/values/values.yaml]
          volumeMounts: [{name: values, mountPath: /values}]
      volumes: [{name: values, configMap: {name: cilium-install}}]
"""


def stand_up(here: Served, nodes: int = 1, cilium: str = CILIUM) -> None:
    """Nodes register, manifests are applied; the clock is given the time that it takes."""

    def begin(cluster: Any) -> None:
        for number in range(nodes):
            cluster.add_node(f"node-{number + 1}", NODE)
        cluster.bootstrap({"cilium": cilium}, [FLUX, GATEWAY_API])

    here.inside(begin)
    here.pass_time()


def conditions(tree: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Type to status and reason."""
    listed = tree.get("status", {}).get("conditions") or []
    return {one["type"]: (one["status"], one["reason"]) for one in listed}


def message(tree: dict[str, Any], kind: str = "Ready") -> str:
    return next((str(one["message"]) for one in tree["status"]["conditions"] if one["type"] == kind), "")
