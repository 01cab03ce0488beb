"""Manifests that stand at public addresses, as far as the sandbox knows them: what they bring, not their text."""

import re
from collections.abc import Callable

from ocifree_pipeline.sandbox.kubernetes.catalogue.definitions import definition
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

FLUX_NAMESPACE = "flux-system"
VERSION_LABEL = "app.kubernetes.io/version"
_REFERENCE = "{kind:string! name:string! namespace:string apiVersion:string}"
_SOURCE = "interval:duration! timeout:duration suspend:boolean secretRef{name:string!} ignore:string verify:any"
HELM_RELEASE = f"""
    interval:duration! timeout:duration suspend:boolean releaseName:string targetNamespace:string
    storageNamespace:string serviceAccountName:string maxHistory:integer persistentClient:boolean
    chart{{spec!{{chart:string! version:string interval:duration reconcileStrategy:string valuesFiles:[string]
        ignoreMissingValuesFiles:boolean verify:any sourceRef!{_REFERENCE}}} metadata:any}}
    chartRef{_REFERENCE} dependsOn[{{name:string! namespace:string readyExpr:string}}]
    install:any upgrade:any rollback:any uninstall:any test:any driftDetection:any kubeConfig:any commonMetadata:any
    waitStrategy:any healthCheckExprs:[any] postRenderers:[any] values:json
    valuesFrom[{{kind:string! name:string! valuesKey:string targetPath:string optional:boolean}}]
"""
KUSTOMIZATION = f"""
    interval:duration! retryInterval:duration timeout:duration path:string prune:boolean! wait:boolean force:boolean
    suspend:boolean targetNamespace:string serviceAccountName:string sourceRef!{_REFERENCE}
    dependsOn[{{name:string! namespace:string readyExpr:string}}] decryption{{provider:string! secretRef{{name:string!}}
    serviceAccountName:string}} postBuild:any patches:[any] images:[any] components:[string] healthChecks:[any]
    healthCheckExprs:[any] kubeConfig:any commonMetadata:any namePrefix:string nameSuffix:string
    deletionPolicy:string ignoreMissingComponents:boolean
"""

HELM_REPOSITORY = f"""
    {_SOURCE} url:string! type:string provider:string passCredentials:boolean insecure:boolean
    certSecretRef{{name:string!}} accessFrom:any
"""
HELM_CHART = f"""
    {_SOURCE} chart:string! version:string reconcileStrategy:string valuesFiles:[string]
    ignoreMissingValuesFiles:boolean sourceRef!{_REFERENCE}
"""
GIT_REPOSITORY = f"""
    {_SOURCE} url:string! ref{{branch:string tag:string semver:string name:string commit:string}} provider:string
    include:[any] recurseSubmodules:boolean proxySecretRef{{name:string!}} sparseCheckout:[string]
"""
OCI_REPOSITORY = f"""
    {_SOURCE} url:string! ref{{tag:string semver:string semverFilter:string digest:string}} layerSelector:any
    provider:string insecure:boolean serviceAccountName:string certSecretRef{{name:string!}}
    proxySecretRef{{name:string!}}
"""
BUCKET = f"""
    {_SOURCE} bucketName:string! endpoint:string! provider:string region:string prefix:string insecure:boolean
"""
GATEWAY_CLASS = "controllerName:string! description:string parametersRef:any"
GATEWAY = """
    gatewayClassName:string! addresses:[any] infrastructure:any allowedListeners:any backendTLS:any tls:any
    listeners![{name:string! port:integer! protocol:string! hostname:string allowedRoutes:any
        tls{mode:string options:texts certificateRefs[{group:string kind:string name:string! namespace:string}]
            frontendValidation:any}}]
"""
ROUTE = """
    parentRefs[{group:string kind:string namespace:string name:string! sectionName:string port:integer}]
    hostnames:[string] useDefaultGateways:string
    rules[{name:string matches:[any] filters:[any] timeouts:any retry:any sessionPersistence:any
        backendRefs[{group:string kind:string namespace:string name:string! port:integer weight:integer
            filters:[any]}]}]
"""


def manifests(url: str) -> list[Tree] | None:
    """The objects of the manifest at an address; None for one that the sandbox does not know."""
    for pattern, make in _KNOWN:
        if pattern.fullmatch(url):
            return [_of_release(one, url) for one in make()]
    return None


def _of_release(tree: Tree, url: str) -> Tree:
    """What runs, and where, says by a label of which release it is."""
    version = re.search(r"/(v[0-9]+\.[0-9.]*[0-9])/", url)
    if version is None or tree["kind"] not in {"Deployment", "Namespace"}:
        return tree
    metadata = tree["metadata"]
    return tree | {"metadata": metadata | {"labels": metadata.get("labels", {}) | {VERSION_LABEL: version[1]}}}


def _flux() -> list[Tree]:
    source, kustomize = "source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"
    notification = "notification.toolkit.fluxcd.io"
    found: list[Tree] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FLUX_NAMESPACE}}]
    found += [
        definition(source, "v1", "HelmRepository", "helmrepositories", short=["helmrepo"], spec=HELM_REPOSITORY),
        definition(source, "v1", "HelmChart", "helmcharts", short=["hc"], spec=HELM_CHART),
        definition(source, "v1", "GitRepository", "gitrepositories", short=["gitrepo"], spec=GIT_REPOSITORY),
        definition(source, "v1", "OCIRepository", "ocirepositories", short=["ocirepo"], spec=OCI_REPOSITORY),
        definition(source, "v1", "Bucket", "buckets", spec=BUCKET),
        definition(kustomize, "v1", "Kustomization", "kustomizations", short=["ks"], spec=KUSTOMIZATION),
        definition("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases", short=["hr"], spec=HELM_RELEASE),
        definition(notification, "v1beta3", "Alert", "alerts"),
        definition(notification, "v1beta3", "Provider", "providers"),
        definition(notification, "v1", "Receiver", "receivers"),
    ]
    for name in ("source-controller", "kustomize-controller", "helm-controller", "notification-controller"):
        made = controller(name, FLUX_NAMESPACE, f"ghcr.io/fluxcd/{name}:v1")
        made["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"name": "http-prom", "containerPort": 8080}]
        found += [_account(name, FLUX_NAMESPACE), made]
    found.append(_admin("cluster-reconciler-flux-system", FLUX_NAMESPACE, "kustomize-controller", "helm-controller"))
    return found


def _gateway_api() -> list[Tree]:
    group = "gateway.networking.k8s.io"
    gateways = definition(group, "v1", "Gateway", "gateways", short=["gtw"], spec=GATEWAY)
    for version in gateways["spec"]["versions"]:
        listeners = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["listeners"]
        listeners |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "minItems": 1}
    return [
        definition(
            group,
            "v1",
            "GatewayClass",
            "gatewayclasses",
            short=["gc"],
            namespaced=False,
            spec=GATEWAY_CLASS,
        ),
        gateways,
        definition(group, "v1", "HTTPRoute", "httproutes", spec=ROUTE),
        definition(group, "v1", "GRPCRoute", "grpcroutes", spec=ROUTE),
        definition(group, ["v1", "v1alpha3"], "BackendTLSPolicy", "backendtlspolicies"),
        definition(group, ["v1", "v1beta1"], "ReferenceGrant", "referencegrants", short=["refgrant"]),
        definition(group, "v1", "TLSRoute", "tlsroutes"),
    ]


def _account(name: str, namespace: str) -> Tree:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def _admin(name: str, namespace: str, *accounts: str) -> Tree:
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": one, "namespace": namespace} for one in accounts],
    }


def controller(name: str, namespace: str, image: str, *, replicas: int = 1, spec: Tree | None = None) -> Tree:
    """A deployment whose pods are found by ``app``."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "containers": [
                        {
                            "name": "manager",
                            "image": image,
                            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                        }
                    ],
                }
                | (spec or {}),
            },
        },
    }


_KNOWN: tuple[tuple[re.Pattern[str], Callable[[], list[Tree]]], ...] = (
    (
        re.compile(r"https://github\.com/fluxcd/flux2/releases/(latest/download|download/v2\.[0-9.]+)/install\.yaml"),
        _flux,
    ),
    (
        re.compile(
            r"https://github\.com/kubernetes-sigs/gateway-api/releases/download/v1\.[0-9.]+/"
            r"(standard|experimental)-install\.yaml"
        ),
        _gateway_api,
    ),
)
