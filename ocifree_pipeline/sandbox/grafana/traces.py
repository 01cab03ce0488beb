"""Spans as they were pushed, found again by tags of the span or its resource."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.grafana.wire import Span
from ocifree_pipeline.sandbox.world import World

KEPT = 500
TAG = re.compile(r'\s*([\w.-]+)=("(?:[^"\\]|\\.)*"|\S+)')
CONDITION = re.compile(r'\s*\{?\s*(?:(?:span|resource)?\.)?([\w.-]+)\s*=\s*"([^"]*)"\s*(?:&&|\}|$)')


class Wrong(ValueError):
    """Not a search that is played."""


def push(world: World, spans: Iterable[Span]) -> None:
    kept = _kept(world)
    for one in spans:
        kept.append(
            {
                "trace": one.trace,
                "span": one.span,
                "parent": one.parent,
                "name": one.name,
                "start": one.start,
                "end": one.end,
                "attributes": one.attributes,
                "resource": one.resource,
            }
        )
    del kept[:-KEPT]


def wanted(tags: str, query: str) -> dict[str, str]:
    """From `tags` (logfmt) or from a TraceQL selector of equalities."""
    if query:
        found = dict(CONDITION.findall(query))
        if not found or query.count("=") != len(found):
            raise Wrong("invalid TraceQL query: the sandbox plays equalities of attributes joined by && only")
        return found
    return {name: value.strip('"') for name, value in TAG.findall(tags)}


def search(world: World, tags: dict[str, str], start: float, end: float, most: int) -> list[dict[str, Any]]:
    """A summary of each trace of which one span has all the tags."""
    found: dict[str, dict[str, Any]] = {}
    spans = _kept(world)
    for one in spans:
        has = {**one["resource"], **one["attributes"], "name": one["name"]}
        if all(has.get(name) == value for name, value in tags.items()) and start <= one["start"] / 1e9 <= end:
            found.setdefault(one["trace"], _summary([span for span in spans if span["trace"] == one["trace"]]))
    return list(found.values())[:most]


def trace(world: World, name: str) -> list[dict[str, Any]]:
    return [one for one in _kept(world) if one["trace"] == name]


def _summary(spans: list[dict[str, Any]]) -> dict[str, Any]:
    root = next((one for one in spans if not one["parent"]), spans[0])
    begin, end = min(one["start"] for one in spans), max(one["end"] for one in spans)
    return {
        "traceID": root["trace"],
        "rootServiceName": root["resource"].get("service.name", ""),
        "rootTraceName": root["name"],
        "startTimeUnixNano": str(begin),
        "durationMs": (end - begin) // 1_000_000,
    }


def _kept(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.facts(world).setdefault("spans", [])
    return found
