"""The Helm charts that the sandbox knows: where they are published, and what a release of each brings.

Only what others look at is there: workloads, their configuration, the kinds that they add. To add a chart, append it
to ``CHARTS``.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ocifree_pipeline.sandbox.kubernetes.catalogue.addresses import controller
from ocifree_pipeline.sandbox.kubernetes.catalogue.definitions import OPEN, STATUS, definition
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

EVERYWHERE = [{"operator": "Exists"}]


@dataclass(frozen=True, slots=True)
class Release:
    name: str
    namespace: str
    version: str
    values: Tree


@dataclass(frozen=True, slots=True)
class Chart:
    """``versions`` matches what was published. ``crds`` are installed before everything else, and kept."""

    name: str
    repository: str
    versions: str
    render: Callable[[Release], list[Tree]]
    crds: Callable[[], list[Tree]] = list

    def has(self, version: str) -> bool:
        return re.fullmatch(self.versions, version) is not None


def published(repository: str) -> list[Chart]:
    """The charts of a repository; none for an address that the sandbox does not know."""
    return [one for one in CHARTS if one.repository == repository.rstrip("/")]


def named(name: str) -> Chart | None:
    return next((one for one in CHARTS if one.name == name), None)


def _cilium(release: Release) -> list[Tree]:
    values, namespace = release.values, release.namespace
    gateway = at(values, "gatewayAPI", "enabled") is True
    configuration = {
        "ipam": at(values, "ipam", "mode", default="cluster-pool"),
        "kube-proxy-replacement": _said(values.get("kubeProxyReplacement", False)),
        "enable-hubble": _said(at(values, "hubble", "enabled", default=True)),
        "routing-mode": values.get("routingMode", "tunnel"),
        "enable-gateway-api": _said(gateway),
        "gateway-api-hostnetwork-enabled": _said(at(values, "gatewayAPI", "hostNetwork", "enabled", default=False)),
    }
    found = [
        *_accounts(namespace, "cilium", "cilium-operator", "cilium-envoy"),
        _config_map("cilium-config", namespace, configuration),
        _daemon_set(
            "cilium",
            namespace,
            f"quay.io/cilium/cilium:v{release.version}",
            labels={"k8s-app": "cilium"},
            ports=_cilium_ports(values),
        ),
        controller(
            "cilium-operator",
            namespace,
            f"quay.io/cilium/operator-generic:v{release.version}",
            replicas=at(values, "operator", "replicas", default=2),
            spec={"hostNetwork": True, "tolerations": EVERYWHERE},
        ),
    ]
    if at(values, "envoy", "enabled", default=True):
        image = f"quay.io/cilium/cilium-envoy:v{release.version}"
        found.append(_daemon_set("cilium-envoy", namespace, image, labels={"k8s-app": "cilium-envoy"}))
    if at(values, "hubble", "enabled", default=True) and at(values, "hubble", "relay", "enabled"):
        found += _accounts(namespace, "hubble-relay")
        found.append(controller("hubble-relay", namespace, f"quay.io/cilium/hubble-relay:v{release.version}"))
        found.append(_service("hubble-relay", namespace, {"app": "hubble-relay"}, 80))
    if gateway and at(values, "gatewayAPI", "gatewayClass", "create", default="auto") == "true":
        found.append(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "GatewayClass",
                "metadata": {"name": "cilium"},
                "spec": {"controllerName": "io.cilium/gateway-controller"},
            }
        )
    return found


def _cilium_ports(values: Tree) -> Tree:
    """Metrics are shown when somebody asks for them."""
    ports = {"prometheus": 9962} if at(values, "prometheus", "enabled") else {}
    return ports | ({"hubble-metrics": 9965} if at(values, "hubble", "metrics", "enabled") else {})


def cilium_definitions() -> list[Tree]:
    """The kinds that Cilium's operator registers when it comes up."""
    group = "cilium.io"
    policy: Tree = {
        "type": "object",
        "properties": {"spec": OPEN, "specs": {"type": "array", "items": OPEN}, "status": STATUS},
    }
    return [
        definition(group, "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies", short=["cnp"], whole=policy),
        definition(
            group,
            "v2",
            "CiliumClusterwideNetworkPolicy",
            "ciliumclusterwidenetworkpolicies",
            short=["ccnp"],
            namespaced=False,
            whole=policy,
        ),
        definition(group, "v2", "CiliumNode", "ciliumnodes", short=["cn"], namespaced=False),
        definition(group, "v2", "CiliumEndpoint", "ciliumendpoints", short=["cep"]),
        definition(group, "v2", "CiliumIdentity", "ciliumidentities", short=["ciliumid"], namespaced=False),
        definition(group, "v2", "CiliumLoadBalancerIPPool", "ciliumloadbalancerippools", namespaced=False),
        definition(group, "v2alpha1", "CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies", namespaced=False),
    ]


def _tailscale_operator(release: Release) -> list[Tree]:
    credentials = {"name": "oauth", "secret": {"secretName": "operator-oauth"}}
    image = f"docker.io/tailscale/k8s-operator:v{release.version}"
    found = controller("operator", release.namespace, image, spec={"volumes": [credentials]})
    ingress: Tree = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "tailscale"},
        "spec": {"controller": "tailscale.com/ts-ingress"},
    }
    return [*_accounts(release.namespace, "operator", "proxies"), found, ingress]


def _tailscale_definitions() -> list[Tree]:
    rows = (("Connector", "connectors"), ("ProxyClass", "proxyclasses"), ("ProxyGroup", "proxygroups"))
    return [definition("tailscale.com", "v1alpha1", kind, plural, namespaced=False) for kind, plural in rows]


_SAID = {"env": "extraEnv", "envFrom": "envFrom", "resources": "resources"}
"""What a container has, and what the chart calls it."""


_READ = ["get", "list", "watch"]
_ALLOY_RULES: list[Tree] = [
    {"apiGroups": [""], "resources": ["pods", "services", "endpoints", "namespaces", "events"], "verbs": _READ},
    {"apiGroups": [""], "resources": ["pods/log", "configmaps", "secrets"], "verbs": _READ},
]
_ALLOY_CLUSTER_RULES: list[Tree] = [
    {"apiGroups": [""], "resources": ["nodes", "nodes/pods", "nodes/metrics"], "verbs": _READ},
    {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
]
"""What the chart gives if nothing else is said; components that are not played are left out."""


def _alloy(release: Release) -> list[Tree]:
    values, name, namespace = release.values, release.name, release.namespace
    kind = at(values, "controller", "type", default="daemonset")
    mounted = at(values, "alloy", "configMap", "name", default=name)
    text = at(values, "alloy", "configMap", "content", default="")
    created = at(values, "alloy", "configMap", "create", default=True)
    labels = {"app.kubernetes.io/name": "alloy", "app.kubernetes.io/instance": name}
    more: Tree = {"serviceAccountName": name, "volumes": [{"name": "config", "configMap": {"name": mounted}}]}
    image = f"docker.io/grafana/alloy:v{release.version}"
    said = {one: at(values, "alloy", other) for one, other in _SAID.items()}
    rbac = values.get("rbac", {})
    rules = [*rbac.get("rules", _ALLOY_RULES), *rbac.get("clusterRules", _ALLOY_CLUSTER_RULES)]
    found = [*_accounts(namespace, name), *_rights(name, namespace, rules), _service(name, namespace, labels, 12345)]
    if created:
        found.append(_config_map(mounted, namespace, {"config.alloy": text}))
    if kind == "daemonset":
        on_host = at(values, "controller", "hostNetwork", default=False)
        workload = _daemon_set(name, namespace, image, labels=labels, host_network=on_host)
    else:
        replicas = at(values, "controller", "replicas", default=1)
        workload = controller(name, namespace, image, replicas=replicas)
        workload["spec"] |= {"selector": {"matchLabels": labels}}
        if kind == "statefulset":
            workload["kind"] = "StatefulSet"
            workload["spec"]["serviceName"] = name
    workload["spec"]["template"]["metadata"]["labels"] = labels | at(values, "controller", "podLabels", default={})
    pod = workload["spec"]["template"]["spec"]
    pod |= more | {"tolerations": at(values, "controller", "tolerations", default=[])}
    pod["containers"][0] |= {key: value for key, value in said.items() if value} | {"name": "alloy"}
    pod["containers"][0]["args"] = [
        "run",
        f"/etc/alloy/{at(values, 'alloy', 'configMap', 'key', default='config.alloy')}",
    ]
    pod["containers"][0]["ports"] = _ports({"http-metrics": 12345})
    return [*found, workload]


def _kube_state_metrics(release: Release) -> list[Tree]:
    image = "registry.k8s.io/kube-state-metrics/kube-state-metrics:v2"
    labels = {"app.kubernetes.io/name": "kube-state-metrics", "app.kubernetes.io/instance": release.name}
    tolerations = at(release.values, "tolerations", default=[])
    found = controller(release.name, release.namespace, image, spec={"tolerations": tolerations})
    found["spec"] |= {"selector": {"matchLabels": labels}}
    found["spec"]["template"]["metadata"]["labels"] = labels
    (container,) = found["spec"]["template"]["spec"]["containers"]
    container |= {"ports": _ports({"http": 8080}), "resources": release.values.get("resources", {})}
    service = _service(release.name, release.namespace, labels, 8080)
    return [*_accounts(release.namespace, release.name), found, service]


def _node_exporter(release: Release) -> list[Tree]:
    labels = {"app.kubernetes.io/name": "prometheus-node-exporter", "app.kubernetes.io/instance": release.name}
    image = "quay.io/prometheus/node-exporter:v1"
    found = _daemon_set(release.name, release.namespace, image, labels=labels, ports={"metrics": 9100})
    found["spec"]["template"]["spec"]["containers"][0]["resources"] = release.values.get("resources", {})
    service = _service(release.name, release.namespace, labels, 9100)
    return [*_accounts(release.namespace, release.name), found, service]


# parts ----------------------------------------------------------------------------------------------------------------


def _said(value: object) -> str:
    return str(value).lower()


def _accounts(namespace: str, *names: str) -> Iterable[Tree]:
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        for name in names
    ]


def _rights(name: str, namespace: str, rules: list[Tree]) -> list[Tree]:
    """A role of the cluster, and that the account of this name has it."""
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [account],
        },
    ]


def _config_map(name: str, namespace: str, data: Tree) -> Tree:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def _service(name: str, namespace: str, labels: Tree, port: int) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": port, "targetPort": port}]},
    }


def _ports(ports: Tree) -> list[Tree]:
    return [{"name": name, "containerPort": port} for name, port in ports.items()]


def _daemon_set(
    name: str, namespace: str, image: str, *, labels: Tree, host_network: bool = True, ports: Tree | None = None
) -> Tree:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "hostNetwork": host_network,
                    "tolerations": EVERYWHERE,
                    "containers": [{"name": name, "image": image, "ports": _ports(ports or {})}],
                },
            },
        },
    }


_ANY_VERSION = r"v?[0-9]+\.[0-9]+\.[0-9]+"
CHARTS: list[Chart] = [
    Chart("cilium", "https://helm.cilium.io", r"v?1\.(1[4-9]|2[0-9])\.[0-9]+", _cilium),
    Chart(
        "tailscale-operator",
        "https://pkgs.tailscale.com/helmcharts",
        r"v?1\.[0-9]*[02468]\.[0-9]+",
        _tailscale_operator,
        _tailscale_definitions,
    ),
    Chart("alloy", "https://grafana.github.io/helm-charts", _ANY_VERSION, _alloy),
    Chart(
        "kube-state-metrics", "https://prometheus-community.github.io/helm-charts", _ANY_VERSION, _kube_state_metrics
    ),
    Chart(
        "prometheus-node-exporter", "https://prometheus-community.github.io/helm-charts", _ANY_VERSION, _node_exporter
    ),
]
