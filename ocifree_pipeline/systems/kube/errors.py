"""What a Kubernetes API says when it refuses, as errors of ours: one class for what can be done about it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    OcifreeError,
    Refused,
    Throttled,
    Transient,
)

_MANAGER_CONFLICT = "FieldManagerConflict"
SHOWN = 400


class Gone(Refused):
    """The object or its kind does not exist."""


class Changed(Transient):
    """Somebody changed the object between our reading and our writing."""


def error_of(status: int, body: bytes, doing: str, *, secret: bool = False) -> OcifreeError:
    """The error for an answer. A refused Secret may be quoted in the answer, so then only its reason is told."""
    told = _parsed(body)
    reason = str(told.get("reason") or f"HTTP {status}")
    message = reason if secret else _clipped(str(told.get("message") or reason))
    causes = told.get("details", {}).get("causes", ()) if isinstance(told.get("details"), Mapping) else ()
    if status == 409 and any(cause.get("reason") == _MANAGER_CONFLICT for cause in causes):
        return _conflict(causes, doing)
    if status == 409:
        return Changed(f"{doing}: it changed meanwhile", why=message, fix="materialize the asset again")
    if status == 401:
        return AuthFailed(
            f"{doing}: the cluster does not know us",
            why=message,
            fix="ocifree up --select 'talos/kubeconfig' fetches a new kubeconfig",
        )
    if status == 403:
        return Forbidden(f"{doing}: not allowed", why=message, fix="read the reason; a quota or a policy may say no")
    if status in (404, 410):
        return Gone(f"{doing}: it is not there", why=message, fix="materialize the asset again")
    if status == 429:
        said = _clipped(" ".join([message, *(str(cause.get("message", "")) for cause in causes)]))
        return Throttled(f"{doing}: the API server asks for patience", why=said, fix="try again in a minute")
    if status >= 500 and status != 501:
        return Transient(
            f"{doing}: the API server failed", why=message, fix="it may be starting; try again in a minute"
        )
    return Refused(f"{doing}: the API server refuses it", why=message, fix="read the reason and mend what it names")


def _conflict(causes: Sequence[Mapping[str, Any]], doing: str) -> Conflict:
    """Who owns which fields, by name: only a person knows which of the two is right."""
    managers: dict[str, list[str]] = {}
    for cause in causes:
        said = str(cause.get("message", ""))
        manager = said.split('"')[1] if said.count('"') >= 2 else said
        managers.setdefault(manager, []).append(str(cause.get("field", "?")))
    fields = "; ".join(f"{manager} has set {', '.join(named)}" for manager, named in managers.items())
    return Conflict(
        f"{doing}: {' and '.join(managers)} {'manages' if len(managers) == 1 else 'manage'} the same fields",
        why=_clipped(fields),
        fix="find out who that is (`kubectl get ... --show-managed-fields -o yaml`) and take the fields away from "
        "there; ocifree overwrites nobody's work",
    )


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {"message": body.decode("utf-8", "replace").strip()}
    return found if isinstance(found, Mapping) else {}


def _clipped(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN else plain[:SHOWN] + " ..."
