"""What we once applied for one part of the platform, kept in the cluster itself: a ConfigMap of ours a part.

It is written before the first object, with the old and the new together. So whoever resumes after a crash knows all
that may be there, and an object that is no longer declared is found, however often the work was broken off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ocifree_pipeline.systems.kube.api import Api, Resource
from ocifree_pipeline.systems.kube.objects import CORE, Object, Ref, at

NAMESPACE = "kube-system"
_RESOURCE = Resource("v1", "ConfigMap", "configmaps", namespaced=True)
_KEY = "objects"

Entries = dict[Ref, str]
"""Each object with the version of its API under which it was applied."""


def read(api: Api, part: str) -> Entries:
    found = api.get(_RESOURCE, _ref(part))
    text = str(at(found, f"data.{_KEY}", "")) if found else ""
    entries: Entries = {}
    for line in text.splitlines():
        api_version, kind, namespace, name = json.loads(line)
        group = api_version.partition("/")[0] if "/" in api_version else CORE
        entries[Ref(group, kind, namespace, name)] = api_version
    return entries


def write(api: Api, part: str, entries: Entries) -> None:
    api.apply(_RESOURCE, _as_object(part, entries))


def entries_of(objects: Iterable[tuple[Ref, Object]]) -> Entries:
    return {ref: str(thing["apiVersion"]) for ref, thing in objects}


def _as_object(part: str, entries: Entries) -> Object:
    lines = [
        json.dumps([api_version, ref.kind, ref.namespace, ref.name]) for ref, api_version in sorted(entries.items())
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _ref(part).name, "namespace": NAMESPACE},
        "data": {_KEY: "".join(f"{line}\n" for line in lines)},
    }


def _ref(part: str) -> Ref:
    return Ref(CORE, "ConfigMap", NAMESPACE, f"ocifree-inventory-{part.replace('_', '-')}")
