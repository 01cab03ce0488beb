"""Scale, logs, evictions, tokens; and the reviews that answer who somebody is and what they may."""

import base64
import hmac
import json
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.sandbox.kubernetes import access, statuses
from ocifree_pipeline.sandbox.kubernetes.calls import MERGE_PATCH, Answer, Call, Target, User
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.selectors import selects, text_of
from ocifree_pipeline.sandbox.kubernetes.store import Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.kubernetes.api import Api

TOKEN_SECONDS = 3600
BUDGETS = "poddisruptionbudgets.policy"
AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


def answer(api: "Api", kind: Kind, target: Target, call: Call) -> Answer:
    found = api.store.get(kind.resource, target.namespace, target.name)
    if found is None:
        raise statuses.not_found(kind.plural, kind.group, target.name)
    if target.sub == "scale" and kind.scale is not None:
        return _scale(api, kind, target, call, found)
    if kind.group:
        raise statuses.not_played(f"{kind.plural}/{target.sub}")
    if (kind.plural, target.sub) == ("namespaces", "finalize") and call.method == "PUT":
        return _finalize(api, found, call)
    if (kind.plural, target.sub) == ("pods", "eviction") and call.method == "POST":
        return _evict(api, kind, target, call, found)
    if (kind.plural, target.sub) == ("pods", "binding") and call.method == "POST":
        node = at(call.body, "target", "name", default="")
        api.client.patch("v1/pods", target.namespace, target.name, {"spec": {"nodeName": node}})
        return Answer(201, statuses.success({}))
    if (kind.plural, target.sub) == ("pods", "log") and call.method == "GET":
        return _log(found, call)
    if (kind.plural, target.sub) == ("serviceaccounts", "token") and call.method == "POST":
        return _token(api, target, call)
    raise statuses.not_played(f"{kind.plural}/{target.sub}")


def _evict(api: "Api", kind: Kind, target: Target, call: Call, pod: Tree) -> Answer:
    """A deletion that disruption budgets may refuse; a pod that is not healthy, or has ended, is none they count."""
    budgets = [one for one in api.store.all(BUDGETS) if one["metadata"]["namespace"] == target.namespace]
    budgets = [
        one for one in budgets if selects(at(one, "spec", "selector"), at(pod, "metadata", "labels", default={}))
    ]
    if len(budgets) > 1:
        why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise statuses.Refusal(500, "InternalError", why)
    counts = is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")
    if budgets and counts and not at(budgets[0], "status", "disruptionsAllowed", default=0):
        raise statuses.too_many_disruptions(budgets[0])
    options = (call.body or {}).get("deleteOptions")
    api.writer.delete(kind, target, Call("DELETE", call.path, call.user, body=options))
    return Answer(201, statuses.success({"name": target.name}))


# scale ----------------------------------------------------------------------------------------------------------------


def _scale(api: "Api", kind: Kind, target: Target, call: Call, found: Tree) -> Answer:
    scale = kind.scale
    if scale is None:
        raise statuses.method_not_allowed()
    if call.method in {"PUT", "PATCH"}:
        wanted = at(call.body, "spec", "replicas")
        if not isinstance(wanted, int) or wanted < 0:
            raise statuses.bad_request("spec.replicas must be a number that is not negative")
        patch: Any = wanted
        for step in reversed(scale.replicas.strip(".").split(".")):
            patch = {step: patch}
        changed = api.writer.patch(
            kind,
            Target(target.group, target.version, target.plural, target.namespace, target.name),
            Call("PATCH", call.path, call.user, call.query, patch, MERGE_PATCH, agent=call.agent),
        )
        found = changed.body or found
        api.after_write()
    elif call.method != "GET":
        raise statuses.method_not_allowed()
    selector = at(found, *scale.selector.strip(".").split(".")) if scale.selector else ""
    metadata = found["metadata"]
    body: Tree = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            name: metadata[name]
            for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
            if name in metadata
        },
        "spec": {"replicas": at(found, *scale.replicas.strip(".").split("."), default=0)},
        "status": {
            "replicas": at(found, *scale.observed.strip(".").split("."), default=0),
            "selector": selector if isinstance(selector, str) else text_of(selector),
        },
    }
    return Answer(200, body)


def _finalize(api: "Api", found: Tree, call: Call) -> Answer:
    left = at(call.body, "spec", "finalizers", default=[])
    new = found | {"spec": {"finalizers": left} if left else {}}
    new["metadata"] = dict(found["metadata"])
    if not left and found["metadata"].get("deletionTimestamp"):
        api.store.remove("namespaces", found)
        return Answer(200, new)
    return Answer(200, api.store.put("namespaces", new))


def _log(pod: Tree, call: Call) -> Answer:
    names = [one["name"] for one in at(pod, "spec", "containers", default=[])]
    name = call.query.get("container") or (names[0] if len(names) == 1 else "")
    if not name:
        raise statuses.bad_request(
            f"a container name must be specified for pod {pod['metadata']['name']}, choose one of: [{' '.join(names)}]"
        )
    if name not in names:
        raise statuses.bad_request(f"container {name} is not valid for pod {pod['metadata']['name']}")
    for one in at(pod, "status", "containerStatuses", default=[]):
        waiting = at(one, "state", "waiting", "reason")
        if one["name"] == name and waiting:
            said = "trying and failing to pull image" if waiting == "ImagePullBackOff" else waiting
            raise statuses.bad_request(
                f'container "{name}" in pod "{pod["metadata"]["name"]}" is waiting to start: {said}'
            )
    return Answer(200, text=at(pod, "metadata", "annotations", "sandbox.ocifree/log", default=""))


# tokens ---------------------------------------------------------------------------------------------------------------


def _token(api: "Api", target: Target, call: Call) -> Answer:
    seconds = int(at(call.body, "spec", "expirationSeconds", default=TOKEN_SECONDS))
    expires = int(api.writer.now().timestamp()) + seconds
    token = issue(api, target.namespace, target.name, expires)
    from datetime import UTC, datetime

    stamp = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body: Tree = {
        "kind": "TokenRequest",
        "apiVersion": f"{AUTHENTICATION}/v1",
        "metadata": {"name": target.name, "namespace": target.namespace},
        "spec": {"expirationSeconds": seconds},
        "status": {"token": token, "expirationTimestamp": stamp},
    }
    return Answer(201, body)


def issue(api: "Api", namespace: str, name: str, expires: int) -> str:
    """A token in the form of a JWT. It is signed with a secret that only this API knows."""
    head = _part({"alg": "HS256", "typ": "JWT"})
    claims = _part({"sub": f"system:serviceaccount:{namespace}:{name}", "exp": expires, "iss": "kubernetes"})
    return f"{head}.{claims}.{_part(api.digest(f'{head}.{claims}'))}"


def holder(api: "Api", token: str) -> User | None:
    """The service account that a token was issued to, while it is valid and the account is there."""
    head, _, rest = token.partition(".")
    claims, _, signature = rest.partition(".")
    if not hmac.compare_digest(signature, _part(api.digest(f"{head}.{claims}"))):
        return None
    found = json.loads(base64.urlsafe_b64decode(claims + "=="))
    if found["exp"] <= api.writer.now().timestamp():
        return None
    _, _, namespace, name = found["sub"].split(":")
    if api.store.get("serviceaccounts", namespace, name) is None:
        return None
    return User(found["sub"], ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"))


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


# reviews --------------------------------------------------------------------------------------------------------------


def review(store: Store, target: Target, call: Call) -> Answer | None:
    if call.method != "POST" or target.name:
        return None
    body: Tree = dict(call.body or {})
    if (target.group, target.plural) == (AUTHENTICATION, "selfsubjectreviews"):
        who = {"username": call.user.name, "groups": list(call.user.groups)}
        return Answer(201, body | {"metadata": {}, "status": {"userInfo": who}})
    if target.group != AUTHORIZATION or target.plural not in {"selfsubjectaccessreviews", "subjectaccessreviews"}:
        return None
    spec = body.get("spec") or {}
    user = call.user
    if target.plural == "subjectaccessreviews":
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
    try:
        if "nonResourceAttributes" in spec:
            asked = spec["nonResourceAttributes"]
            access.check_path(store, user, asked.get("verb", "get"), asked.get("path", "/"))
        else:
            asked = spec.get("resourceAttributes") or {}
            wanted = Target(
                asked.get("group", ""),
                asked.get("version", ""),
                asked.get("resource", ""),
                asked.get("namespace", ""),
                asked.get("name", ""),
                asked.get("subresource", ""),
            )
            access.check(store, user, asked.get("verb", "get"), wanted)
    except statuses.Refusal as refusal:
        return Answer(201, body | {"status": {"allowed": False, "reason": refusal.message}})
    return Answer(201, body | {"status": {"allowed": True}})
