"""The kinds that an API server brings with it. Custom resource definitions add theirs (see ``custom``)."""

from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes import schemas
from ocifree_pipeline.sandbox.kubernetes.statuses import qualified

ALL = "all"


@dataclass(frozen=True, slots=True)
class Scale:
    """Where ``/scale`` finds its numbers."""

    replicas: str = ".spec.replicas"
    observed: str = ".status.replicas"
    selector: str = ".spec.selector"


@dataclass(frozen=True, slots=True)
class Kind:
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short: tuple[str, ...] = ()
    status: bool = False
    scale: Scale | None = None
    categories: tuple[str, ...] = ()
    custom: schemas.Node | None = field(default=None, hash=False, compare=False)
    """The schema of a custom resource."""

    @property
    def resource(self) -> str:
        return qualified(self.plural, self.group)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def schema(self) -> schemas.Node:
        if self.custom is not None:
            return self.custom
        return schemas.builtin(self.group, self.version, self.kind)


def _kinds(group: str, version: str, *rows: tuple[str, str, str, str]) -> list[Kind]:
    """Rows of kind, plural, short names, marks: n namespaced, s status, x scale, a in ``all``."""
    return [
        Kind(
            group,
            version,
            kind,
            plural,
            namespaced="n" in marks,
            short=tuple(short.split()),
            status="s" in marks,
            scale=Scale() if "x" in marks else None,
            categories=(ALL,) if "a" in marks else (),
        )
        for kind, plural, short, marks in rows
    ]


BUILTIN: tuple[Kind, ...] = (
    *_kinds(
        "",
        "v1",
        ("ConfigMap", "configmaps", "cm", "n"),
        ("Endpoints", "endpoints", "ep", "n"),
        ("Event", "events", "ev", "n"),
        ("LimitRange", "limitranges", "limits", "n"),
        ("Namespace", "namespaces", "ns", "s"),
        ("Node", "nodes", "no", "s"),
        ("PersistentVolumeClaim", "persistentvolumeclaims", "pvc", "ns"),
        ("PersistentVolume", "persistentvolumes", "pv", "s"),
        ("Pod", "pods", "po", "nsa"),
        ("PodTemplate", "podtemplates", "", "n"),
        ("ReplicationController", "replicationcontrollers", "rc", "nsxa"),
        ("ResourceQuota", "resourcequotas", "quota", "ns"),
        ("Secret", "secrets", "", "n"),
        ("ServiceAccount", "serviceaccounts", "sa", "n"),
        ("Service", "services", "svc", "nsa"),
    ),
    *_kinds(
        "apps",
        "v1",
        ("ControllerRevision", "controllerrevisions", "", "n"),
        ("DaemonSet", "daemonsets", "ds", "nsa"),
        ("Deployment", "deployments", "deploy", "nsxa"),
        ("ReplicaSet", "replicasets", "rs", "nsxa"),
        ("StatefulSet", "statefulsets", "sts", "nsxa"),
    ),
    *_kinds("batch", "v1", ("CronJob", "cronjobs", "cj", "nsa"), ("Job", "jobs", "", "nsa")),
    *_kinds("autoscaling", "v2", ("HorizontalPodAutoscaler", "horizontalpodautoscalers", "hpa", "nsa")),
    *_kinds("coordination.k8s.io", "v1", ("Lease", "leases", "", "n")),
    *_kinds("discovery.k8s.io", "v1", ("EndpointSlice", "endpointslices", "", "n")),
    *_kinds("policy", "v1", ("PodDisruptionBudget", "poddisruptionbudgets", "pdb", "ns")),
    *_kinds("scheduling.k8s.io", "v1", ("PriorityClass", "priorityclasses", "pc", "")),
    *_kinds("node.k8s.io", "v1", ("RuntimeClass", "runtimeclasses", "", "")),
    *_kinds(
        "networking.k8s.io",
        "v1",
        ("IngressClass", "ingressclasses", "", ""),
        ("Ingress", "ingresses", "ing", "ns"),
        ("NetworkPolicy", "networkpolicies", "netpol", "n"),
    ),
    *_kinds(
        "rbac.authorization.k8s.io",
        "v1",
        ("ClusterRoleBinding", "clusterrolebindings", "", ""),
        ("ClusterRole", "clusterroles", "", ""),
        ("RoleBinding", "rolebindings", "", "n"),
        ("Role", "roles", "", "n"),
    ),
    *_kinds(
        "storage.k8s.io",
        "v1",
        ("CSIDriver", "csidrivers", "", ""),
        ("CSINode", "csinodes", "", ""),
        ("StorageClass", "storageclasses", "sc", ""),
    ),
    *_kinds(
        "admissionregistration.k8s.io",
        "v1",
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "", ""),
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies", "", "s"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "", ""),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "", ""),
    ),
    *_kinds("apiextensions.k8s.io", "v1", ("CustomResourceDefinition", "customresourcedefinitions", "crd crds", "s")),
    *_kinds("apiregistration.k8s.io", "v1", ("APIService", "apiservices", "", "s")),
)
