"""Reading: get, list in pages, and watch."""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ocifree_pipeline.sandbox.kubernetes import statuses, tables
from ocifree_pipeline.sandbox.kubernetes.calls import Answer, Call, Target, Watch
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.selectors import fields_match, labels_match
from ocifree_pipeline.sandbox.kubernetes.store import Change, Store, key_of
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at


@dataclass(frozen=True, slots=True)
class Reader:
    store: Store
    now: Callable[[], datetime]

    def get(self, kind: Kind, target: Target) -> Answer:
        found = self.store.get(kind.resource, target.namespace, target.name)
        if found is None:
            raise statuses.not_found(kind.plural, kind.group, target.name)
        return Answer(200, shown(found, kind))

    def list(self, kind: Kind, target: Target, call: Call) -> Answer:
        chosen = [shown(one, kind) for one in self.store.all(kind.resource, target.namespace) if _wanted(call)(one)]
        metadata: Tree = {"resourceVersion": str(self.store.revision)}
        start = call.query.get("continue", "")
        if start:
            last = _after(start, metadata)
            chosen = [one for one in chosen if key_of(one) > last]
        limit = int(call.query.get("limit") or 0)
        if limit and len(chosen) > limit:
            metadata["remainingItemCount"] = len(chosen) - limit
            chosen = chosen[:limit]
            metadata["continue"] = _token(metadata["resourceVersion"], key_of(chosen[-1]))
        body = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata, "items": chosen}
        return Answer(200, body, bare_items=kind.custom is None)

    def watch(self, kind: Kind, target: Target, call: Call) -> Answer:
        wanted = _wanted(call)

        def inside(tree: Tree | None) -> bool:
            if tree is None:
                return False
            metadata = tree["metadata"]
            return (
                (not target.namespace or metadata.get("namespace") == target.namespace)
                and (not target.name or metadata["name"] == target.name)
                and wanted(tree)
            )

        def event(change: Change) -> Tree | None:
            before, after = inside(change.before), inside(change.after)
            if not before and not after:
                return None
            said = "ADDED" if not before else "MODIFIED" if after else "DELETED"
            return {"type": said, "object": as_asked(change.last)}

        def as_asked(tree: Tree) -> Tree:
            tree = shown(tree, kind)
            if not tables.is_wanted(call.accept):
                return tree
            version = {"resourceVersion": tree["metadata"]["resourceVersion"]}
            return tables.table(kind, [tree], version, self.now())

        def bookmark(revision: int) -> Tree:
            return _bookmark(kind, revision)

        asked = call.query.get("resourceVersion", "")
        initial = call.is_set("sendInitialEvents")
        first: list[Tree] = []
        revision = self.store.revision
        if asked in {"", "0"} or initial:
            present = [one for one in self.store.all(kind.resource, target.namespace) if inside(one)]
            first = [{"type": "ADDED", "object": as_asked(one)} for one in present]
            if initial:
                first.append(_bookmark(kind, revision, ends_initial=True))
        else:
            revision = _revision(asked)
            if self.store.is_too_old(revision):
                raise statuses.expired(f"too old resource version: {revision} ({self.store.compacted})")
        seconds = call.query.get("timeoutSeconds")
        return Answer(
            200,
            watch=Watch(
                first,
                kind.resource,
                revision,
                event,
                bookmark if call.is_set("allowWatchBookmarks") else None,
                float(seconds) if seconds else None,
            ),
        )


def shown(tree: Tree, kind: Kind) -> Tree:
    """A stored object in the version that was asked for."""
    if tree.get("apiVersion") == kind.api_version:
        return tree
    return tree | {"apiVersion": kind.api_version}


def _wanted(call: Call) -> Callable[[Tree], bool]:
    labels, fields = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
    labels_match(labels, {})
    fields_match(fields, {})

    def wanted(tree: Tree) -> bool:
        if labels and not labels_match(labels, at(tree, "metadata", "labels", default={})):
            return False
        return not fields or fields_match(fields, tree)

    return wanted


def _bookmark(kind: Kind, revision: int, *, ends_initial: bool = False) -> Tree:
    metadata: Tree = {"resourceVersion": str(revision), "creationTimestamp": None}
    if ends_initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {
        "type": "BOOKMARK",
        "object": {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata},
    }


def _revision(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise statuses.bad_request(f"invalid resource version {json.dumps(text)}: it is no number") from None


def _token(revision: str, last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"rv": int(revision), "start": last}).encode()).decode()


def _after(token: str, metadata: Tree) -> str:
    """Where the page before ended; the whole list keeps the resource version of its first page."""
    try:
        found = json.loads(base64.urlsafe_b64decode(token))
        metadata["resourceVersion"] = str(found["rv"])
        return str(found["start"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise statuses.bad_request("continue key is not valid") from None
