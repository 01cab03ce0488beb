"""The controllers as clients of an API server over a network, such as a real one.

    remote = Remote(over_http(session, "https://127.0.0.1:6443"), state)
    remote.converge()

They are the same controllers that run in the sandbox. Here nobody calls them when something changes: they look at what
is there, do what is to be done, and look again until a look finds nothing new.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import requests

from ocifree_pipeline.sandbox.kubernetes import controllers, custom
from ocifree_pipeline.sandbox.kubernetes.calls import JSON
from ocifree_pipeline.sandbox.kubernetes.client import Client, path
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.running import EVERYTHING, Controller, Here, Keys
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

SECONDS = 30.0
SWEEPS = 50
TRIES = 10
TOO_MANY = 429
MANAGER = "sandbox-controllers"
GROUPS = ("system:serviceaccounts", "system:authenticated")


def over_http(session: requests.Session, base: str) -> Callable[..., Tree]:
    """How a client asks. ``user`` is whom to speak for (impersonation)."""

    def ask(method: str, where: str, query: Mapping[str, str], body: Any, content_type: str, *, user: str = "") -> Tree:
        headers = {"content-type": content_type, "accept": JSON} | ({"impersonate-user": user} if user else {})
        for _ in range(TRIES):
            reply = session.request(
                method,
                base + where,
                params={"fieldManager": MANAGER} | dict(query) if method not in {"GET", "DELETE"} else dict(query),
                data=None if body is None else json.dumps(body),
                headers=headers,
                timeout=SECONDS,
            )
            if reply.status_code != TOO_MANY:
                break
            # A server also says so while it takes in a kind that is new.
            time.sleep(float(reply.headers.get("retry-after") or 1))
        try:
            found: Tree = reply.json()
        except ValueError:
            found = {"message": reply.text}
        if not reply.ok:
            raise Refusal(reply.status_code, found.get("reason", ""), found.get("message", ""), found.get("details"))
        return found

    return ask


@dataclass(slots=True)
class Remote:
    """``state`` is what the sandbox knows besides the API: machines, manifests, repositories, settings.

    Controllers in ``without`` do not work, because somebody else does what they do.
    """

    ask: Callable[..., Tree]
    state: Tree
    without: frozenset[str] = frozenset()
    _client: Client = field(init=False)
    _controllers: dict[str, Controller] = field(init=False)
    _seen: dict[str, Tree] = field(default_factory=dict)
    _kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._client = Client(self.ask)
        self._controllers = {one.name: one for one in controllers.all_of_them() if one.name not in self.without}

    def converge(self, *first: tuple[str, str]) -> int:
        """Work until a look finds nothing new; how many looks it took. ``first`` are keys to begin with."""
        queue = dict.fromkeys(first)
        for number in range(1, SWEEPS + 1):
            queue |= dict.fromkeys(self._news())
            if not queue:
                return number
            for name, key in list(queue):
                # What is refused now, such as by a conflict with somebody faster, is seen to at the next look.
                with contextlib.suppress(Refusal):
                    self._controllers[name].reconcile(self._here(), key)
            queue.clear()
        raise TimeoutError(f"after {SWEEPS} looks there is still something to do")

    def _news(self) -> Iterator[tuple[str, str]]:
        """What to look at because of what has changed since the last look."""
        here, now = self._here(), dict(self._everything_by_uid())
        before, self._seen = self._seen, {uid: tree for uid, (_, tree) in now.items()}
        changed = [
            (resource, tree)
            for uid, (resource, tree) in now.items()
            if before.get(uid, {}).get("metadata", {}).get("resourceVersion") != tree["metadata"]["resourceVersion"]
        ]
        changed += [(_resource_of(tree, self._kinds), tree) for uid, tree in before.items() if uid not in now]
        if any(resource == custom.RESOURCE for resource, _ in changed):
            self._kinds = {}
        for resource, tree in changed:
            for name, controller in self._controllers.items():
                for watched, keys in controller.watches.items():
                    if watched in {resource, EVERYTHING}:
                        yield from ((name, key) for key in _keys(keys, here, tree))

    def _here(self) -> Here:
        return Here(
            client=self._client,
            state=self.state,
            now=datetime.now(UTC),
            immediate=True,
            strikes=lambda _operation: None,
            discovered=self,
        )

    # what a client finds out ----------------------------------------------------------------------------------------

    def kind(self, api_version: str, kind: str) -> Kind | None:
        if (api_version, kind) not in self._kinds:
            self._kinds = {(one.api_version, one.kind): one for one in self._discovered()}
        return self._kinds.get((api_version, kind))

    def dependents(self, uid: str) -> list[tuple[str, Tree]]:
        return [
            (place, tree)
            for place, tree in self._everything()
            if any(one["uid"] == uid for one in tree["metadata"].get("ownerReferences") or ())
        ]

    def inside(self, namespace: str) -> list[tuple[str, Tree]]:
        return [(place, tree) for place, tree in self._everything() if tree["metadata"].get("namespace") == namespace]

    def as_account(self, namespace: str, name: str) -> Client:
        return Client(partial(self.ask, user=f"system:serviceaccount:{namespace}:{name}"))

    def _discovered(self) -> Iterator[Kind]:
        groups = self.ask("GET", "/apis", {}, None, JSON)["groups"]
        versions = ["v1", *(one["groupVersion"] for group in groups for one in group["versions"])]
        for version in versions:
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            group, _, bare = version.rpartition("/")
            for one in self.ask("GET", root, {}, None, JSON)["resources"]:
                if "/" not in one["name"] and {"list", "watch"} <= set(one["verbs"]):
                    yield Kind(group, bare, one["kind"], one["name"], one["namespaced"])

    def _everything(self) -> Iterator[tuple[str, Tree]]:
        if not self._kinds:
            self._kinds = {(one.api_version, one.kind): one for one in self._discovered()}
        for one in self._kinds.values():
            place = f"{one.api_version}/{one.plural}"
            listed = self.ask("GET", path(place), {}, None, JSON)
            for item in listed["items"]:
                yield place, {"apiVersion": one.api_version, "kind": one.kind} | item

    def _everything_by_uid(self) -> Iterator[tuple[str, tuple[str, Tree]]]:
        for _, tree in self._everything():
            yield tree["metadata"]["uid"], (_resource_of(tree, self._kinds), tree)


def _resource_of(tree: Tree, kinds: Mapping[tuple[str, str], Kind]) -> str:
    found = kinds.get((tree["apiVersion"], tree["kind"]))
    return found.resource if found is not None else ""


def _keys(keys: Keys, here: Here, tree: Tree) -> list[str]:
    return list(keys(here, tree))
