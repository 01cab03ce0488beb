"""What people are told, and how often: a notice once, few in an hour, the urgent first. Pure.

The ledger is small, written as JSON, and kept by whoever sends. A notice that cannot be sent stays in it and is tried
again; what nobody could be told within a day is counted and said with the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel

HOUR, DAY = 3600.0, 86400.0
AN_HOUR = 6
"""Most messages within an hour, to each of the targets. A person who gets more reads none."""
KEEP = 100
MOST_WAITING = 40


class Event(StrEnum):
    """What happened, in the order in which it is told."""

    CHARGE = "charge"
    LOST = "machine lost"
    FAILED = "failed"
    HUNT_STOPPED = "hunt stopped"
    CLAIMED = "machine claimed"
    CAPACITY = "capacity found"
    IDLE = "idle risk"
    CERTIFICATE = "certificate"
    LIMITS = "limits changed"
    DRIFT = "drift"
    CHECK = "check failed"
    DIGEST = "digest of the hunt"
    TEST = "test"


QUIET: dict[Event, float] = {
    Event.CHARGE: DAY,
    Event.LOST: DAY,
    Event.FAILED: 6 * HOUR,
    Event.HUNT_STOPPED: 7 * DAY,
    Event.CLAIMED: 365 * DAY,
    Event.CAPACITY: 6 * HOUR,
    Event.IDLE: 3 * DAY,
    Event.CERTIFICATE: 7 * DAY,
    Event.LIMITS: 365 * DAY,
    Event.DRIFT: DAY,
    Event.CHECK: DAY,
    Event.DIGEST: DAY - HOUR,
    Event.TEST: 0.0,
}
"""For how long the same is not told again."""

CONDITIONS = frozenset({Event.CHARGE, Event.LOST, Event.HUNT_STOPPED, Event.IDLE, Event.CERTIFICATE, Event.DRIFT,
                        Event.CHECK})  # fmt: skip
"""What lasts. When it ends and comes back, it is news again."""


class Notice(BaseModel, frozen=True, extra="forbid"):
    """One thing to tell. `about` tells it from others of its kind: two with the same are the same news."""

    event: Event
    about: str
    values: dict[str, str | tuple[str, ...]] = {}

    @property
    def name(self) -> str:
        return f"{self.event.value}: {self.about}"


class Waiting(BaseModel, frozen=True, extra="forbid"):
    """A notice that somebody has still to be told; `to` is empty until it was first tried."""

    notice: Notice
    since: float
    to: tuple[str, ...] | None = None
    tries: int = 0
    again_at: float = 0.0


class Ledger(BaseModel, frozen=True, extra="forbid"):
    """What was told when, what waits, and how much was left out."""

    told: dict[str, float] = {}
    sent_at: tuple[float, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    left_out: int = 0

    def with_(self, **changes: object) -> Ledger:
        return self.model_copy(update=changes)


def at_this_clock(ledger: Ledger, now: float) -> Ledger:
    """Where the clock was set back since, what was told in the future was told just now."""
    return ledger.with_(
        told={name: min(at, now) for name, at in ledger.told.items()},
        sent_at=tuple(min(at, now) for at in ledger.sent_at),
        waiting=tuple(
            one.model_copy(update={"since": min(one.since, now), "again_at": min(one.again_at, now + HOUR)})
            for one in ledger.waiting
        ),
    )


def take_in(ledger: Ledger, notices: Iterable[Notice], now: float) -> Ledger:
    """Put what is news in line."""
    ledger = at_this_clock(ledger, now)
    told, waiting = dict(ledger.told), list(ledger.waiting)
    for notice in notices:
        last = told.get(notice.name)
        if last is not None and now - last < QUIET[notice.event]:
            continue
        told[notice.name] = now
        waiting = [one for one in waiting if one.notice.name != notice.name]
        waiting.append(Waiting(notice=notice, since=now))
    order = list(Event)
    waiting.sort(key=lambda one: (order.index(one.notice.event), one.since))
    old = [one for one in waiting if now - one.since > DAY]
    young = [one for one in waiting if now - one.since <= DAY]
    over = max(0, len(young) - MOST_WAITING)
    newest = sorted(told, key=lambda name: told[name], reverse=True)[:KEEP]
    return ledger.with_(
        told={name: told[name] for name in newest},
        waiting=tuple(young[: MOST_WAITING]),
        left_out=ledger.left_out + len(old) + over,
    )  # fmt: skip


def forget_past(ledger: Ledger, present: Iterable[Notice]) -> Ledger:
    """Conditions that are over are forgotten, so that they are told again when they come back."""
    there = {notice.name for notice in present}
    lasting = tuple(f"{event.value}: " for event in CONDITIONS)
    return ledger.with_(
        told={name: at for name, at in ledger.told.items() if name in there or not name.startswith(lasting)}
    )


def known(ledger: Ledger, notices: Iterable[Notice], now: float) -> Ledger:
    """Take these for told: they are older than the wish to be told."""
    return ledger.with_(told=ledger.told | {notice.name: now for notice in notices})


def due(ledger: Ledger, now: float) -> tuple[Waiting, ...]:
    """What may be sent now without anybody hearing more than the most of an hour."""
    heard = sum(now - at < HOUR for at in ledger.sent_at)
    ready = tuple(one for one in ledger.waiting if one.again_at <= now)
    return ready[: max(0, AN_HOUR - heard)]


def tried(ledger: Ledger, one: Waiting, missed: tuple[str, ...], now: float, *, heard: bool) -> Ledger:
    """After a try: `missed` are those who could not be told, `heard` is whether anybody was."""
    sent_at = tuple(at for at in ledger.sent_at if now - at < HOUR) + ((now,) if heard else ())
    rest = ledger.with_(sent_at=sent_at, left_out=0 if heard else ledger.left_out)
    if not missed:
        return rest.with_(waiting=tuple(other for other in ledger.waiting if other.notice.name != one.notice.name))
    pause = min(HOUR, 60.0 * 2**one.tries)
    later = one.model_copy(update={"to": missed, "tries": one.tries + 1, "again_at": now + pause})
    return rest.with_(
        waiting=tuple(later if other.notice.name == one.notice.name else other for other in ledger.waiting)
    )
