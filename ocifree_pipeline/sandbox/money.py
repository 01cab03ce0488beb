"""Who used what, from when to when: the ledger that bills and budgets are computed from.

    money.begin(world, instance, {"shape": "VM.Standard.A1.Flex", "ocpus": 2, "memoryInGBs": 12})   # it runs
    money.end(world, instance)                                                                       # it stopped
    money.begin(world, volume, {"sizeInGBs": 50, "vpusPerGB": 10})                                   # boot or block
    money.begin(world, balancer, {"bandwidthMbps": 10})                                              # flexible LB

A change of size is one ``begin`` with the new facts. The entries outlive their resource, for Oracle bills what is
gone too. The kind of the resource says how its facts are priced: ``prices``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ocifree_pipeline.sandbox import idle, prices
from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.world import Resource, World

LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Span:
    """One resource in one size, from ``start`` until ``end``; ``end`` is the present for what is still there."""

    ocid: str
    kind: str
    region: str
    ad: str
    compartment: str
    name: str
    tags: dict[str, Any]
    start: datetime
    end: datetime
    facts: dict[str, Any]


Wanted = Callable[[Span], bool]


def begin(world: World, resource: Resource, facts: dict[str, Any]) -> None:
    """From now on ``resource`` is used in the size that ``facts`` say; what ran before ends here.

    LookupError when no price is known for the kind or the shape: what costs nobody knows how much must not pass.
    """
    prices.meters(resource.kind, facts, hours_in_month=744)
    end(world, resource)
    entry = _ledger(world).setdefault(resource.ocid, {"kind": resource.kind, "region": resource.region, "spans": []})
    _describe(entry, resource)
    entry["spans"].append([world.clock.stamp(), None, dict(facts)])
    if resource.kind == "instance":
        idle.watch(world, resource)


def adjust(world: World, resource: Resource, facts: dict[str, Any]) -> None:
    """``begin`` for what changes all the time, such as bytes in a bucket: one hour counts with its last size."""
    entry = _ledger(world).get(resource.ocid)
    spans = entry["spans"] if entry else []
    hour = world.clock.now().replace(minute=0, second=0, microsecond=0)
    if spans and spans[-1][1] is None and parse(spans[-1][0]) >= hour:
        prices.meters(resource.kind, facts, hours_in_month=744)
        spans[-1][2] = dict(facts)
    else:
        begin(world, resource, facts)


def end(world: World, resource: Resource) -> None:
    """``resource`` is not used any more; nothing happens when it was not in use."""
    entry = _ledger(world).get(resource.ocid)
    if entry is not None and entry["spans"] and entry["spans"][-1][1] is None:
        _describe(entry, resource)
        entry["spans"][-1][1] = world.clock.stamp()


def spans(world: World) -> Iterator[Span]:
    """Everything in the ledger, oldest resource first; what is still in use ends now."""
    now = world.clock.now()
    for ocid, entry in _ledger(world).items():
        for start, stop, facts in entry["spans"]:
            yield Span(
                ocid=ocid,
                kind=entry["kind"],
                region=entry["region"],
                ad=entry["ad"],
                compartment=entry["compartment"],
                name=entry["name"],
                tags=entry["tags"],
                start=parse(start),
                end=parse(stop) if stop else now,
                facts=facts,
            )


def _ledger(world: World) -> dict[str, dict[str, Any]]:
    ledger: dict[str, dict[str, Any]] = world.facts.setdefault(LEDGER, {})
    return ledger


def _describe(entry: dict[str, Any], resource: Resource) -> None:
    body = resource.body
    entry.update(
        ad=body.get("availabilityDomain") or "",
        compartment=body["compartmentId"],
        name=body.get("displayName") or body.get("name") or "",
        tags={"freeform": body.get("freeformTags") or {}, "defined": body.get("definedTags") or {}},
    )
