"""What the API offers: groups, versions and resources, in the plain and in the aggregated form."""

from collections.abc import Iterable

from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
AGGREGATED_TYPE = f"application/json;{AGGREGATED}"
MORE_SUBRESOURCES = {
    "pods": (("log", "Pod", ["get"]), ("eviction", "Eviction", ["create"]), ("binding", "Binding", ["create"])),
    "serviceaccounts": (("token", "TokenRequest", ["create"]),),
    "namespaces": (("finalize", "Namespace", ["update"]),),
}


def core_versions() -> Tree:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(kinds: Iterable[Kind]) -> Tree:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(*one) for one in _groups(kinds).items() if one[0]],
    }


def group(kinds: Iterable[Kind], name: str) -> Tree | None:
    versions = _groups(kinds).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, versions) if versions and name else None


def _group(name: str, versions: list[str]) -> Tree:
    listed = [{"groupVersion": f"{name}/{one}", "version": one} for one in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _groups(kinds: Iterable[Kind]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in kinds:
        versions = found.setdefault(one.group, [])
        if one.version not in versions:
            versions.append(one.version)
    return found


def resource_list(kinds: Iterable[Kind], group_name: str, version: str) -> Tree | None:
    resources: list[Tree] = []
    for one in kinds:
        if (one.group, one.version) != (group_name, version):
            continue
        resources.append(
            {
                "name": one.plural,
                "singularName": one.singular,
                "namespaced": one.namespaced,
                "kind": one.kind,
                "verbs": VERBS,
            }
            | ({"shortNames": list(one.short)} if one.short else {})
            | ({"categories": list(one.categories)} if one.categories else {})
        )
        for sub, kind, verbs in _subresources(one):
            entry: Tree = {
                "name": f"{one.plural}/{sub}",
                "singularName": "",
                "namespaced": one.namespaced,
                "kind": kind,
                "verbs": verbs,
            }
            if sub == "scale":
                entry |= {"group": "autoscaling", "version": "v1"}
            resources.append(entry)
    if not resources:
        return None
    name = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _subresources(kind: Kind) -> Iterable[tuple[str, str, list[str]]]:
    if kind.status:
        yield "status", kind.kind, ["get", "patch", "update"]
    if kind.scale is not None:
        yield "scale", "Scale", ["get", "patch", "update"]
    if not kind.group:
        yield from MORE_SUBRESOURCES.get(kind.plural, ())


def aggregated(kinds: Iterable[Kind], *, core: bool) -> Tree:
    known = list(kinds)
    items = []
    for name, versions in _groups(known).items():
        if bool(name) == core:
            continue
        items.append(
            {
                "metadata": {"name": name} if name else {},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Current",
                        "resources": [_aggregated(one) for one in known if (one.group, one.version) == (name, version)],
                    }
                    for version in versions
                ],
            }
        )
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated(kind: Kind) -> Tree:
    subresources = [
        {
            "subresource": sub,
            "responseKind": {"group": kind.group, "version": kind.version, "kind": named},
            "verbs": verbs,
        }
        for sub, named, verbs in _subresources(kind)
    ]
    return (
        {
            "resource": kind.plural,
            "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular,
            "verbs": VERBS,
        }
        | ({"shortNames": list(kind.short)} if kind.short else {})
        | ({"categories": list(kind.categories)} if kind.categories else {})
        | ({"subresources": subresources} if subresources else {})
    )
