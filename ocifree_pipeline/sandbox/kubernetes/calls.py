"""A request to the API as everybody makes it: real clients through ``transport``, controllers directly."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.store import Change
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

JSON = "application/json"
YAML = "application/yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    user: User
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    accept: str = JSON
    agent: str = ""

    def is_set(self, name: str) -> bool:
        return self.query.get(name, "") in {"true", "1", "True"}

    @property
    def manager(self) -> str:
        return self.query.get("fieldManager") or self.agent.partition("/")[0] or "unknown"

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"


@dataclass(frozen=True, slots=True)
class Watch:
    """A stream of events. ``first`` are known already; ``event`` turns a change into one, or None if it is no news."""

    first: list[Tree]
    resource: str
    after: int
    event: Callable[[Change], Tree | None]
    bookmark: Callable[[int], Tree] | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Tree | None = None
    text: str | None = None
    watch: Watch | None = None
    warnings: tuple[str, ...] = ()
    bare_items: bool = False
    """On the wire the items of a list of a built-in kind do not say what they are."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. ``verb`` is what access rules call the request."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    sub: str = ""


def target_of(path: str) -> Target | None:
    """None for a path that names no resource."""
    parts = [one for one in path.split("/") if one]
    group = ""
    if parts[:1] == ["api"] and len(parts) >= 3:
        version, rest = parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in {"status", "finalize"}):
        namespace, rest = rest[1], rest[2:]
    named: Iterator[str] = iter([*rest[1:], "", ""])
    return Target(group, version, rest[0], namespace, next(named), "/".join(one for one in rest[2:]))


def verb_of(call: Call, target: Target) -> str:
    if call.method in {"GET", "HEAD"}:
        return "watch" if call.is_set("watch") else "get" if target.name else "list"
    if call.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(call.method, call.method.lower())
