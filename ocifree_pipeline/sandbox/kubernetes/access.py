"""Who may do what: role-based access control, as far as roles and bindings say."""

from collections.abc import Iterator

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.calls import AUTHENTICATED, MASTERS, Target, User
from ocifree_pipeline.sandbox.kubernetes.store import Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")
DISCOVERY_PATHS = (*OPEN_PATHS, "/api", "/apis", "/openapi")
RBAC = "rbac.authorization.k8s.io"
REVIEWS = frozenset({"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"})


def check(store: Store, user: User, verb: str, target: Target) -> None:
    """Refusal when the user may not."""
    if MASTERS in user.groups or (target.plural in REVIEWS and AUTHENTICATED in user.groups):
        return
    if any(_allows(rule, verb, target) for rule in _rules(store, user, target.namespace)):
        return
    resource = f"{target.plural}/{target.sub}" if target.sub else target.plural
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    raise statuses.forbidden(
        target.plural,
        target.group,
        target.name,
        f'User "{user.name}" cannot {verb} resource "{resource}" in API group "{target.group}" {where}',
    )


def check_path(store: Store, user: User, verb: str, path: str) -> None:
    if MASTERS in user.groups or _under(path, OPEN_PATHS):
        return
    if AUTHENTICATED in user.groups and _under(path, DISCOVERY_PATHS) and verb == "get":
        return
    for rule in _rules(store, user, ""):
        if verb in rule.get("verbs", ()) or "*" in rule.get("verbs", ()):
            for one in rule.get("nonResourceURLs") or ():
                if one == path or (one.endswith("*") and path.startswith(one[:-1])):
                    return
    raise statuses.forbidden_path(path, user.name, verb)


def _under(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _rules(store: Store, user: User, namespace: str) -> Iterator[Tree]:
    for binding in store.all(f"clusterrolebindings.{RBAC}"):
        if any(_is(user, one, "") for one in binding.get("subjects") or ()):
            yield from _role(store, binding["roleRef"], "")
    if namespace:
        for binding in store.all(f"rolebindings.{RBAC}", namespace):
            if any(_is(user, one, namespace) for one in binding.get("subjects") or ()):
                yield from _role(store, binding["roleRef"], namespace)


def _role(store: Store, reference: Tree, namespace: str) -> Iterator[Tree]:
    if reference["kind"] == "ClusterRole":
        found = store.get(f"clusterroles.{RBAC}", "", reference["name"])
    else:
        found = store.get(f"roles.{RBAC}", namespace, reference["name"])
    if found is not None:
        yield from found.get("rules") or ()


def _is(user: User, subject: Tree, namespace: str) -> bool:
    kind, name = subject["kind"], subject["name"]
    if kind == "Group":
        return name in user.groups
    if kind == "ServiceAccount":
        return user.name == f"system:serviceaccount:{subject.get('namespace', namespace)}:{name}"
    return bool(user.name == name)


def _allows(rule: Tree, verb: str, target: Target) -> bool:
    resource = f"{target.plural}/{target.sub}" if target.sub else target.plural
    names = rule.get("resourceNames") or ()
    return (
        bool({verb, "*"} & set(rule.get("verbs") or ()))
        and bool({target.group, "*"} & set(rule.get("apiGroups") or ()))
        and bool({resource, "*", f"*/{target.sub}" if target.sub else "*"} & set(rule.get("resources") or ()))
        and (not names or target.name in names)
    )
