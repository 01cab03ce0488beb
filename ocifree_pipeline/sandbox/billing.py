"""The bill: the ledger cut into hours, measured, less what is free, at list prices.

Oracle's own figures are late. ``reported_until`` says up to when usage is known at a moment: data is published every
six hours, and what is published then is six hours old.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ocifree_pipeline.sandbox import money, prices
from ocifree_pipeline.sandbox.world import World

HOUR = timedelta(hours=1)
PUBLISHED_EVERY_HOURS = 6
LATE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Charge:
    """One SKU of one resource in one hour. ``amount`` is None where the SKU has no price."""

    span: money.Span
    sku: prices.Sku
    hour: datetime
    quantity: float
    amount: float | None


def reported_until(moment: datetime) -> datetime:
    """Usage before this is known at ``moment``; it moves in steps."""
    published = moment.replace(
        hour=moment.hour - moment.hour % PUBLISHED_EVERY_HOURS, minute=0, second=0, microsecond=0
    )
    return published - LATE


def charges(world: World, start: datetime, end: datetime) -> list[Charge]:
    """Everything used from ``start`` until ``end``, both full hours in UTC, in the order of time.

    Months are reckoned from their first hour, for what is free has then been used up by what came first.
    """
    found: list[Charge] = []
    month = first_of_month(start)
    while month < end:
        following = next_month(month)
        found += (one for one in _month(world, month, min(following, end)) if one.hour >= start)
        month = following
    return found


def spent(world: World, start: datetime, end: datetime, counts: money.Wanted = lambda _span: True) -> float:
    """The money for what ``counts``."""
    return sum(one.amount or 0.0 for one in charges(world, start, end) if counts(one.span))


def first_of_month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    return first_of_month(month + timedelta(days=32))


def _month(world: World, month: datetime, until: datetime) -> Iterator[Charge]:
    """A free account pays nothing; the others pay for what an hour takes beyond what is left of the free part."""
    hours = (next_month(month) - month) / HOUR
    paying = world.profile["account"] != "free"
    by_hour: dict[datetime, list[tuple[money.Span, prices.Meter, float]]] = {}
    for span in money.spans(world):
        if span.start < until and span.end > month:
            metered = [one for one in prices.meters(span.kind, span.facts, hours) if one.rate]
            for hour, share in _hours(max(span.start, month), min(span.end, until)):
                by_hour.setdefault(hour, []).extend((span, meter, meter.rate * share) for meter in metered)
    taken: dict[str, float] = {}
    for hour in sorted(by_hour):
        totals: dict[str, float] = {}
        for _, meter, quantity in by_hour[hour]:
            totals[meter.sku.number] = totals.get(meter.sku.number, 0.0) + quantity
        for span, meter, quantity in by_hour[hour]:
            sku, before = meter.sku, taken.get(meter.sku.number, 0.0)
            free = sku.free(world, hours)
            beyond = max(0.0, before + totals[sku.number] - free) - max(0.0, before - free)
            amount = quantity * beyond / totals[sku.number] * sku.price if paying else 0.0
            yield Charge(span, sku, hour, quantity, amount if sku.price else None)
        for number, total in totals.items():
            taken[number] = taken.get(number, 0.0) + total


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    """The hours that a stretch of time touches, and how much of each."""
    hour = start.replace(minute=0, second=0, microsecond=0)
    while hour < end:
        share = (min(end, hour + HOUR) - max(start, hour)) / HOUR
        if share > 0:
            yield hour, share
        hour += HOUR
