"""What applying would change: the object as it stands against the same object after a rehearsal on the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocifree_pipeline.systems.kube.api import MANAGER
from ocifree_pipeline.systems.kube.objects import Object

_SERVERS_OWN = frozenset({"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"})
TAKES_OVER = "who manages its fields"


def differences(live: Object, rehearsed: Object) -> tuple[str, ...]:
    """The paths that differ, without what stands there: it may be secret. Status is what controllers say, not us."""
    found = tuple(_paths(_declared(live), _declared(rehearsed), ""))
    if not found and _ours(live) != _ours(rehearsed):
        return (TAKES_OVER,)
    return found


def _declared(thing: Object) -> dict[str, Any]:
    metadata = {name: value for name, value in thing.get("metadata", {}).items() if name not in _SERVERS_OWN}
    return {name: value for name, value in thing.items() if name != "status"} | {"metadata": metadata}


def _ours(thing: Object) -> list[Any]:
    entries = thing.get("metadata", {}).get("managedFields") or ()
    return [entry.get("fieldsV1") for entry in entries if entry.get("manager") == MANAGER]


def _paths(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            yield from _paths(before.get(name), after.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _paths(one, other, f"{path}[{number}]")
    elif before != after:
        yield path
