"""Secrets as objects. They are never part of manifests/, and go from the vault to the cluster and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from pydantic import SecretStr

from ocifree_pipeline.systems.kube.objects import Object, at


def secret(namespace: str, name: str, entries: Mapping[str, SecretStr], kind: str = "Opaque") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": kind,
        "data": {
            key: base64.b64encode(value.get_secret_value().encode()).decode() for key, value in sorted(entries.items())
        },
    }


def entry_of(thing: Object | None, key: str) -> SecretStr | None:
    """One entry of a secret that was read from a cluster."""
    data = at(thing, "data", {}) if thing is not None else {}
    return SecretStr(base64.b64decode(data[key]).decode()) if key in data else None
