"""Log streams as they were pushed, and the queries that find lines by labels and by a part of their text.

Of LogQL only stream selectors with line filters are played: `{namespace="x"} |= "word" != "other" |~ "re"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.grafana.metrics import Discarded, Match
from ocifree_pipeline.sandbox.grafana.wire import Labels, Stream
from ocifree_pipeline.sandbox.world import World

ACTIVE_SECONDS = 2 * 3600
KEPT_LINES = 500
MOST_LABELS = 15
MOST_LINE = 256 * 1024
BURST_SECONDS = 2.0
SELECTOR = re.compile(r"\s*\{(?P<inside>(?:[^\"{}]|\"(?:[^\"\\]|\\.)*\")*)\}\s*")
MATCHER = re.compile(r'\s*(?P<label>[a-zA-Z_]\w*)\s*(?P<op>=~|!~|!=|=)\s*(?P<value>"(?:[^"\\]|\\.)*"|`[^`]*`)\s*(,|$)')
FILTER = re.compile(r'\s*(?P<op>\|=|!=|\|~|!~)\s*(?P<value>"(?:[^"\\]|\\.)*"|`[^`]*`)\s*')


class Wrong(ValueError):
    """Not LogQL, or LogQL that is not played."""


@dataclass(frozen=True, slots=True)
class Query:
    matches: tuple[Match, ...]
    filters: tuple[Callable[[str], bool], ...]

    def takes(self, labels: Labels) -> bool:
        return all(match.test(labels.get(match.label, "")) for match in self.matches)


def push(world: World, streams: Iterable[Stream]) -> None:
    """Store what fits; Discarded says what was not taken."""
    kept, limits = _kept(world), stack.limits(world)
    now = world.clock.now().timestamp()
    incoming = list(streams)
    size = sum(len(line.text.encode()) for one in incoming for line in one.lines)
    _within_rate(world, size, limits, lines=sum(len(one.lines) for one in incoming))
    refused = ""
    for one in incoming:
        if not one.labels or len(one.labels) > MOST_LABELS:
            refused = (
                "error at least one label pair is required per stream"
                if not one.labels
                else f"entry has {len(one.labels)} label names; limit {MOST_LABELS}"
            )
            continue
        key = json.dumps(sorted(one.labels.items()))
        found = kept.get(key)
        if found is None:
            if active_streams(world) >= limits.streams:
                raise Discarded(429, f"Maximum active stream limit exceeded, reduce the number of active streams (reduce labels or reduce label values), limit: {limits.streams}\n")  # noqa: E501  # fmt: skip
            found = kept[key] = {"labels": one.labels, "lines": [], "seen": now}
        found["seen"] = now
        short = [[line.time, line.text] for line in one.lines if len(line.text) <= MOST_LINE]
        if len(short) < len(one.lines):
            refused = f"Max entry size '{MOST_LINE}' bytes exceeded for stream"
        found["lines"] = sorted(found["lines"] + short, key=lambda line: int(line[0]))[-KEPT_LINES:]
    _count(world, size)
    if refused:
        raise Discarded(400, refused + "\n")


def active_streams(world: World) -> int:
    since = world.clock.now().timestamp() - ACTIVE_SECONDS
    return sum(1 for one in _kept(world).values() if one["seen"] >= since)


def month_bytes(world: World) -> int:
    """What this calendar month has brought so far."""
    return int(stack.facts(world).get("logMonths", {}).get(world.clock.stamp()[:7], 0))


def bytes_per_second(world: World) -> float:
    """Over the last five minutes."""
    now = world.clock.now().timestamp()
    recent = stack.facts(world).get("logBytes", [])
    return float(sum(size for at, size in recent if at > now - 300)) / 300


def find(world: World, text: str, start: int, end: int, most: int, *, forward: bool) -> list[dict[str, Any]]:
    """The streams that match, each with its lines from `start` up to before `end` (nanoseconds)."""
    query = parse(text)
    lines = [
        (int(time), line, one["labels"])
        for one in _kept(world).values()
        if query.takes(one["labels"])
        for time, line in one["lines"]
        if start <= int(time) < end and all(test(line) for test in query.filters)
    ]
    lines.sort(key=lambda line: line[0], reverse=not forward)
    found: dict[str, dict[str, Any]] = {}
    for time, line, labels in lines[:most]:
        stream = found.setdefault(json.dumps(sorted(labels.items())), {"stream": labels, "values": []})
        stream["values"].append([str(time), line])
    return list(found.values())


def labels_of(world: World, name: str | None = None) -> list[str]:
    if name is None:
        return sorted({label for one in _kept(world).values() for label in one["labels"]})
    return sorted({one["labels"][name] for one in _kept(world).values() if name in one["labels"]})


def series(world: World, text: str) -> list[Labels]:
    query = parse(text)
    return [one["labels"] for one in _kept(world).values() if query.takes(one["labels"])]


def parse(text: str) -> Query:
    head = SELECTOR.match(text)
    if head is None:
        raise Wrong(f"parse error: the sandbox plays stream selectors with line filters only, not {text!r}")
    matches, at, inside = [], 0, head["inside"]
    while inside[at:].strip():
        one = MATCHER.match(inside, at)
        if one is None:
            raise Wrong(f"parse error in the selector at {inside[at:]!r}")
        matches.append(Match(one["label"], _test(one["op"], _literal(one["value"]))))
        at = one.end()
    if not any(not match.test("") for match in matches):
        raise Wrong(
            "queries require at least one regexp or equality matcher that does not have an empty-compatible value"
        )
    filters, at = [], head.end()
    while at < len(text):
        part = FILTER.match(text, at)
        if part is None:
            raise Wrong(f"parse error: the sandbox plays line filters after the selector only, not {text[at:]!r}")
        filters.append(_line_test(part["op"], _literal(part["value"])))
        at = part.end()
    return Query(tuple(matches), tuple(filters))


def _literal(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise Wrong(f"parse error: {text} is no string") from error


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise Wrong(f"parse error: error parsing regexp: {error}") from error


def _test(op: str, value: str) -> Callable[[str], bool]:
    if op in {"=", "!="}:
        return lambda text: (text == value) is (op == "=")
    compiled = _pattern(value)
    return lambda text: (compiled.fullmatch(text) is not None) is (op == "=~")


def _line_test(op: str, value: str) -> Callable[[str], bool]:
    if op in {"|=", "!="}:
        return lambda line: (value in line) is (op == "|=")
    compiled = _pattern(value)
    return lambda line: (compiled.search(line) is not None) is (op == "|~")


def _kept(world: World) -> dict[str, Any]:
    found: dict[str, Any] = stack.facts(world).setdefault("streams", {})
    return found


def _within_rate(world: World, size: int, limits: stack.Limits, *, lines: int) -> None:
    known = stack.facts(world)
    now, rate = world.clock.now().timestamp(), limits.log_mb_per_second * 1e6
    bucket = known.setdefault("logBucket", {"at": now, "left": rate * BURST_SECONDS})
    bucket["left"] = min(rate * BURST_SECONDS, bucket["left"] + (now - bucket["at"]) * rate)
    bucket["at"] = now
    over_month = month_bytes(world) + size > limits.log_gb_a_month * 1e9
    if size > bucket["left"] or over_month:
        user = known["users"]["logs"]
        raise Discarded(
            429,
            f"Ingestion rate limit exceeded for user {user} (limit: {int(rate)} bytes/sec) while attempting to ingest "
            f"'{lines}' lines totaling '{size}' bytes, reduce log volume or contact your Loki administrator to see if "
            "the limit can be increased\n",
        )
    bucket["left"] -= size


def _count(world: World, size: int) -> None:
    known = stack.facts(world)
    now, month = world.clock.now().timestamp(), world.clock.stamp()[:7]
    months = known.setdefault("logMonths", {})
    months[month] = months.get(month, 0) + size
    known["logBytes"] = [one for one in known.get("logBytes", []) if one[0] > now - 300] + [[now, size]]
