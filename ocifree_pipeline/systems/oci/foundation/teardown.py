"""The end of everything that a deployment made, in the opposite order of its making, and what remains of it.

Only what carries our tags goes. What is gone already is no error; what cannot go now is named, and a next run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.errors import Conflict, Transient
from ocifree_pipeline.systems.oci.foundation.engine import KINDS
from ocifree_pipeline.systems.oci.foundation.kinds import GONE, Kind, Scope
from ocifree_pipeline.systems.oci.foundation.network import ROUTE_TABLE, compartment_of
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG
from ocifree_pipeline.systems.oci.session import Session
from ocifree_pipeline.systems.oci.waiting import Clock, wait_for

GONE_SECONDS = 300
GUARDRAILS = ("quota", "budget", "alert_rule")
"""They guard until the end: taken down last, when nothing is left that could cost anything."""

_WITH_ITS_VCN = frozenset({"security_list"})


@dataclass(frozen=True, slots=True)
class Remains:
    """Something of ours that still stands, and why."""

    kind: str
    name: str
    id: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name} ({self.id}): {self.why}"


def tear_down(
    session: Session,
    deployment: str,
    compartment_name: str,
    kinds: Sequence[str] | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
    clock: Clock = time,
) -> tuple[Remains, ...]:
    """Delete all that is ours of these kinds (all of them if left out); empty when nothing remains."""
    scope = _scope(session, deployment, compartment_name)
    remains: list[Remains] = []
    for kind in reversed([one for one in KINDS.values() if one.name not in _WITH_ITS_VCN]):
        if kinds is not None and kind.name not in kinds:
            continue
        for found in ours(scope, kind):
            say(f"delete {kind.name.replace('_', ' ')} {found.name}")
            try:
                _delete(scope, kind, found, clock)
            except (Conflict, Transient) as error:
                remains.append(Remains(kind.name, found.name, found.id, error.what))
    return tuple(remains)


def what_stands(
    session: Session, deployment: str, compartment_name: str, kinds: Sequence[str] | None = None
) -> tuple[Remains, ...]:
    """Everything that carries the tags of the deployment. Reads only; empty proves that nothing of it is left."""
    scope = _scope(session, deployment, compartment_name)
    return tuple(
        Remains(kind.name, found.name, found.id, "it stands")
        for kind in KINDS.values()
        if kind.name not in _WITH_ITS_VCN and (kinds is None or kind.name in kinds)
        for found in ours(scope, kind)
    )


def ours(scope: Scope, kind: Kind) -> list[Found]:
    """What carries our tag. Records carry none and go with their zone."""
    return [found for found in kind.list(scope) if found.tags.get(DEPLOYMENT_TAG) == scope.deployment]


def _scope(session: Session, deployment: str, compartment_name: str) -> Scope:
    compartment = compartment_of(session, deployment, compartment_name)
    return Scope(session, deployment, compartment.id if compartment else None)


def _delete(scope: Scope, kind: Kind, found: Found, clock: Clock) -> None:
    if kind is ROUTE_TABLE and found.values["routes"]:
        ROUTE_TABLE.update(scope, found, {"routes": ()}, found.tags)  # a gateway that is routed to cannot go
    kind.delete(scope, found)
    last = wait_for(
        lambda: kind.read(scope, found.id),
        lambda seen: seen is None or seen.state not in GONE,
        what=f"{kind.name.replace('_', ' ')} {found.name} is gone",
        timeout=GONE_SECONDS,
        clock=clock,
    )
    if last is not None:
        raise Conflict(
            "Oracle took it back: something is still in it",
            why="a compartment goes only when everything in it has ended, other people's things too",
            fix="`ocifree destroy` again; it names what is left",
        )
