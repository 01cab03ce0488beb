"""The API of one cluster: finds what a request means, who may ask it, and who answers."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from ocifree_pipeline.sandbox.kubernetes import (
    access,
    custom,
    discovery,
    furniture,
    kinds,
    openapi,
    statuses,
    subresources,
    tables,
)
from ocifree_pipeline.sandbox.kubernetes.calls import (
    AUTHENTICATED,
    MASTERS,
    Answer,
    Call,
    Target,
    User,
    target_of,
    verb_of,
)
from ocifree_pipeline.sandbox.kubernetes.client import Client
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.objects import Writer
from ocifree_pipeline.sandbox.kubernetes.reading import Reader, shown
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.store import Change, Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

CONTROLLERS = User("system:kube-controller-manager", (MASTERS, AUTHENTICATED))
NO_PAGE = Answer(404, text="404 page not found\n")
HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
READS = frozenset({"get", "list", "watch"})


class Settings(Protocol):
    @property
    def version(self) -> str: ...

    @property
    def service_cidr(self) -> str: ...


class Api:
    """``after_write`` is called when somebody has changed something: that is when controllers work."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        now: Callable[[], datetime],
        fresh: Callable[[str, int], str],
        secret: str,
    ) -> None:
        self.store = store
        self.settings = settings
        self.writer = Writer(store, settings.service_cidr, now, fresh)
        self.reader = Reader(store, now)
        self.client = Client(self._ask)
        self.after_write: Callable[[], None] = lambda: None
        self._secret = secret.encode()
        self._custom: dict[tuple[str, str, str], Kind] | None = None
        self._by_name: dict[tuple[str, str], Kind] | None = None
        store.listen(self._changed)

    def stamp(self) -> str:
        return self.writer.stamp()

    def digest(self, token: str) -> str:
        """By which a token is known; the token itself is not kept."""
        return hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()

    def furnish(self) -> None:
        """What every cluster holds from its first moment on."""
        furniture.furnish(self.client, self.settings.service_cidr)

    # kinds ----------------------------------------------------------------------------------------------------------

    def kinds(self) -> Iterator[Kind]:
        yield from kinds.BUILTIN
        yield from self._custom_kinds().values()

    def kind_of(self, group: str, version: str, plural: str) -> Kind | None:
        return _BUILTIN.get((group, version, plural)) or self._custom_kinds().get((group, version, plural))

    def _custom_kinds(self) -> dict[tuple[str, str, str], Kind]:
        if self._custom is None:
            self._custom = {
                (one.group, one.version, one.plural): one
                for definition in self.store.all(custom.RESOURCE)
                for one in custom.kinds_of(definition)
            }
        return self._custom

    def _changed(self, change: Change) -> None:
        if change.resource == custom.RESOURCE:
            self._custom = self._by_name = None
            if change.after is None:
                spec = change.last["spec"]
                self.store.drop_table(f"{spec['names']['plural']}.{spec['group']}")

    def kind(self, api_version: str, kind: str) -> Kind | None:
        if self._by_name is None:
            self._by_name = {(one.api_version, one.kind): one for one in self.kinds()}
        return self._by_name.get((api_version, kind))

    def dependents(self, uid: str) -> list[tuple[str, Tree]]:
        return [
            (place, tree)
            for place, tree in self._everything()
            if any(one["uid"] == uid for one in tree["metadata"].get("ownerReferences") or ())
        ]

    def inside(self, namespace: str) -> list[tuple[str, Tree]]:
        return [(place, tree) for place, tree in self._everything() if tree["metadata"].get("namespace") == namespace]

    def _everything(self) -> Iterator[tuple[str, Tree]]:
        seen: set[str] = set()
        for kind in self.kinds():
            if kind.resource not in seen:
                seen.add(kind.resource)
                for tree in self.store.all(kind.resource):
                    yield f"{kind.api_version}/{kind.plural}", tree

    def as_account(self, namespace: str, name: str) -> Client:
        user = User(
            f"system:serviceaccount:{namespace}:{name}",
            ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED),
        )
        return Client(partial(self._ask, user=user))

    # requests -------------------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """Refusal is raised for what is refused."""
        target = target_of(call.path)
        if target is None:
            access.check_path(self.store, call.user, call.method.lower().replace("head", "get"), call.path)
            return self._about(call)
        verb = verb_of(call, target)
        kind = self.kind_of(target.group, target.version, target.plural)
        access.check(self.store, call.user, verb, target)
        if kind is None:
            found = subresources.review(self.store, target, call)
            return found or NO_PAGE
        if target.namespace and not kind.namespaced:
            return NO_PAGE
        answer = self._of_kind(kind, target, verb, call)
        if verb not in READS and not call.dry_run:
            self.after_write()
        return answer

    def operation(self, call: Call) -> str:
        """What faults and records call a request: ``list/pods``, ``update/nodes/status``."""
        target = target_of(call.path)
        if target is None:
            return f"{call.method.lower()}{call.path}"
        verb = verb_of(call, target)
        if verb == "patch" and call.content_type.startswith("application/apply-patch"):
            verb = "apply"
        resource = statuses.qualified(target.plural, target.group)
        return f"{verb}/{resource}" + (f"/{target.sub}" if target.sub else "")

    def _of_kind(self, kind: Kind, target: Target, verb: str, call: Call) -> Answer:
        if target.sub and target.sub != "status":
            return subresources.answer(self, kind, target, call)
        if target.sub == "status" and (not kind.status or verb not in {"get", "update", "patch"}):
            return NO_PAGE
        if verb in {"get", "list"}:
            found = self.reader.get(kind, target) if verb == "get" else self.reader.list(kind, target, call)
            return self._as_table(kind, found) if tables.is_wanted(call.accept) else found
        if verb == "watch":
            return self.reader.watch(kind, target, call)
        if verb == "deletecollection":
            return self._delete_all(kind, target, call)
        if verb == "create" and not target.name:
            found = self.writer.create(kind, target, call)
        elif verb in {"update", "patch", "delete"} and target.name:
            found = {"update": self.writer.update, "patch": self.writer.patch, "delete": self.writer.delete}[verb](
                kind, target, call
            )
        else:
            raise statuses.method_not_allowed()
        if found.body is None or found.body.get("kind") != kind.kind:
            return found
        return Answer(found.status, shown(found.body, kind), warnings=found.warnings)

    def _as_table(self, kind: Kind, found: Answer) -> Answer:
        body = found.body or {}
        metadata = {} if "items" not in body else body["metadata"]
        return Answer(200, tables.table(kind, body.get("items", [body]), metadata, self.writer.now()))

    def _delete_all(self, kind: Kind, target: Target, call: Call) -> Answer:
        listed = self.reader.list(kind, target, call).body or {}
        for one in listed["items"]:
            metadata = one["metadata"]
            single = Target(
                target.group, target.version, target.plural, metadata.get("namespace", ""), metadata["name"]
            )
            self.writer.delete(kind, single, call)
        return Answer(200, listed)

    def _about(self, call: Call) -> Answer:
        path = call.path.rstrip("/") or "/"
        if call.method not in {"GET", "HEAD"}:
            return NO_PAGE
        if path in HEALTH or path.rpartition("/")[0] in HEALTH:
            return Answer(200, text="ok")
        if path == "/version":
            return Answer(200, version_info(self.settings.version))
        if path in {"/api", "/apis"} and discovery.AGGREGATED in call.accept.replace(" ", ""):
            return Answer(200, discovery.aggregated(self.kinds(), core=path == "/api"))
        if path == "/api":
            return Answer(200, discovery.core_versions())
        if path == "/apis":
            return Answer(200, discovery.group_list(self.kinds()))
        if path == openapi.ROOT:
            return Answer(200, openapi.index(self.kinds()))
        if path.startswith(f"{openapi.ROOT}/"):
            described = openapi.description(self.kinds(), path.removeprefix(f"{openapi.ROOT}/"))
            return Answer(200, described) if described is not None else NO_PAGE
        parts = path.split("/")[1:]
        found: Tree | None = None
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.resource_list(self.kinds(), "", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.group(self.kinds(), parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resource_list(self.kinds(), parts[1], parts[2])
        return Answer(200, found) if found is not None else NO_PAGE

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content_type: str,
        *,
        user: User = CONTROLLERS,
    ) -> Tree:
        """How the controllers of the sandbox reach this API: without a network between."""
        given = {"fieldManager": CONTROLLERS.name.removeprefix("system:")} | dict(query)
        found = self.answer(Call(method, path, user, given, body, content_type))
        if found.body is None:
            raise Refusal(found.status, "NotFound", found.text or "")
        return found.body


_BUILTIN = {(one.group, one.version, one.plural): one for one in kinds.BUILTIN}


def version_info(version: str) -> Tree:
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return {
        "major": major,
        "minor": minor,
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-07-15T00:00:00Z",
        "goVersion": "go1.26.5",
        "compiler": "gc",
        "platform": "linux/arm64",
    }
