"""The bill, day by day: what is proved to be zero, what was charged, and what nobody knows yet. Pure.

Oracle's figures come late: by hours as a rule, by a day often. So a day counts as proved only three days after its end.
A figure without an amount is not zero, unless Oracle gives the thing away by name: not knowing is not being free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

DAY = timedelta(days=1)
PROVED_AFTER = timedelta(hours=72)
USUAL_DAYS = 30
MOST_DAYS = 89
"""Oracle answers questions about at most 90 days of daily figures."""

FREE_BY_NAME: Mapping[str, str] = MappingProxyType({"B91444": "the Always Free Micro shape"})
"""Part numbers that have no price at all, so that Oracle leaves their amount out."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One figure of Oracle's: a resource, a part number, a day. `amount` None is what Oracle did not say."""

    day: date
    service: str
    sku: str
    resource: str
    region: str
    quantity: float
    amount: Decimal | None
    currency: str | None

    @property
    def cost(self) -> Decimal | None:
        """The amount; zero for what is free by name; None when nobody knows."""
        if self.amount is None and self.sku in FREE_BY_NAME:
            return Decimal(0)
        return self.amount


class State(StrEnum):
    ZERO = "zero"
    CHARGED = "charged"
    UNKNOWN = "unknown"
    OPEN = "still open"


@dataclass(frozen=True, slots=True)
class Day:
    """`amount` is what is known so far."""

    day: date
    amount: Decimal
    state: State


@dataclass(frozen=True, slots=True)
class Line:
    """One resource and part number over all its days. `amount` None: at least one closed day has no figure."""

    service: str
    sku: str
    resource: str
    region: str
    since: date
    days: int
    amount: Decimal | None
    currency: str

    @property
    def what(self) -> str:
        """The resource as a person recognizes it: its kind, from the OCID, and the OCID itself."""
        parts = self.resource.split(".")
        kind = parts[1] if len(parts) > 1 and parts[0].startswith("ocid") else ""
        return f"{kind} {self.resource}".strip() or f"something of {self.service}"

    def __str__(self) -> str:
        times = f"on {self.days} day{'s' if self.days != 1 else ''} since {self.since}"
        where = f"{self.service} {self.sku} in {self.region}"
        if self.amount is None:
            return f"Oracle gives no amount for {self.what} ({where}, {times}), and {self.sku} is not free by name"
        return f"{money(self.amount, self.currency)} for {self.what} ({where}, {times})"


@dataclass(frozen=True, slots=True)
class Bill:
    """What can be said now about every day that was asked for, and about today."""

    currency: str
    days: tuple[Day, ...]
    charged: tuple[Line, ...]
    unknown: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        return sum((day.amount for day in self.days), Decimal(0))

    @property
    def proven(self) -> int:
        """How many days up to the youngest closed one are zero without a break."""
        count = 0
        for day in reversed(self.days):
            if day.state is State.ZERO:
                count += 1
            elif day.state is not State.OPEN:
                break
        return count

    @property
    def pending(self) -> int:
        return sum(day.state is State.OPEN for day in self.days)

    @property
    def is_zero(self) -> bool:
        """Nothing was charged, and nothing that is closed is unknown. Open days may still bring something."""
        return not self.charged and not self.unknown

    def summary(self) -> str:
        if not self.is_zero:
            return "; ".join(map(str, (*self.charged, *self.unknown)))
        return f"{money(Decimal(0), self.currency)} for {_days(self.proven)}, {_days(self.pending)} still open"


def span_to_ask(now: datetime, since: date | None = None) -> tuple[datetime, datetime]:
    """From which midnight to which. Oracle refuses daily questions that are not cut at midnight UTC."""
    today = now.astimezone(UTC).date()
    first = min(max(since or today - USUAL_DAYS * DAY, today - MOST_DAYS * DAY), today - DAY)
    return _midnight(first), _midnight(today)


def bill_of(usages: Iterable[Usage], now: datetime, since: date | None = None) -> Bill:
    """Judge every figure. `since` as it was given to `span_to_ask`."""
    start, end = span_to_ask(now, since)
    by_day: dict[date, list[Usage]] = defaultdict(list)
    for usage in usages:
        by_day[usage.day].append(usage)
    asked = [start.date() + number * DAY for number in range((end - start) // DAY + 1)]
    days = [_day(day, by_day[day], now) for day in sorted({*asked, *by_day})]
    closed = {day.day for day in days if _is_closed(day.day, now)}
    known = [usage for found in by_day.values() for usage in found if usage.cost]
    unknown = [usage for found in by_day.values() for usage in found if usage.cost is None and usage.day in closed]
    currencies = {usage.currency for found in by_day.values() for usage in found if usage.currency}
    return Bill(
        currency="/".join(sorted(currencies)),
        days=tuple(days),
        charged=tuple(sorted(_lines(known), key=lambda line: (-(line.amount or 0), line.resource, line.sku))),
        unknown=tuple(sorted(_lines(unknown), key=lambda line: (line.resource, line.sku))),
    )


def money(amount: Decimal, currency: str) -> str:
    """To the cent, or as exact as it takes to be seen: a fraction of a cent is a charge too."""
    cents = amount.quantize(Decimal("0.01"))
    shown = f"{cents:f}" if amount == cents else f"{amount.normalize():f}"
    return f"{shown} {currency}".strip()


def _day(day: date, usages: Sequence[Usage], now: datetime) -> Day:
    costs = [usage.cost for usage in usages]
    amount = sum((cost for cost in costs if cost is not None), Decimal(0))
    if any(costs):
        state = State.CHARGED
    elif not _is_closed(day, now):
        state = State.OPEN
    else:
        state = State.UNKNOWN if None in costs else State.ZERO
    return Day(day, amount, state)


def _is_closed(day: date, now: datetime) -> bool:
    return _midnight(day) + DAY + PROVED_AFTER <= now


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _lines(usages: Iterable[Usage]) -> Iterator[Line]:
    grouped: dict[tuple[str, str, str, str], list[Usage]] = defaultdict(list)
    for usage in usages:
        grouped[usage.service, usage.sku, usage.resource, usage.region].append(usage)
    for (service, sku, resource, region), found in grouped.items():
        costs = [usage.cost for usage in found]
        known = [cost for cost in costs if cost is not None]
        days = {usage.day for usage in found}
        currency = next((usage.currency for usage in found if usage.currency), "")
        amount = sum(known, Decimal(0)) if len(known) == len(costs) else None
        yield Line(service, sku, resource, region, min(days), len(days), amount, currency)


def _days(number: int) -> str:
    return f"{number} day{'s' if number != 1 else ''}"


_PAGES: Mapping[str, str] = MappingProxyType(
    {
        "instance": "compute/instances",
        "bootvolume": "block-storage/boot-volumes",
        "volume": "block-storage/volumes",
        "image": "compute/images",
        "loadbalancer": "load-balancer/load-balancers",
        "vcn": "networking/vcns",
    }
)


def console_page(resource: str, region: str) -> str:
    """Where a person looks at a charged resource; the cost analysis for kinds whose page is not known."""
    parts = resource.split(".")
    page = _PAGES.get(parts[1]) if len(parts) > 1 else None
    if page is None:
        return f"https://cloud.oracle.com/account-management/cost-analysis?region={region}"
    return f"https://cloud.oracle.com/{page}/{resource}?region={region}"
