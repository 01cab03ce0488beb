"""The bill: when a day is proved, what counts as a charge, and that what is not known is never zero."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.cost import MOST_DAYS, State, Usage, bill_of, money, span_to_ask

NOW = datetime(2026, 8, 20, 7, 30, tzinfo=UTC)
TODAY = NOW.date()
INSTANCE = "ocid1.instance.oc1.uk-london-1.aaaa"


def usage(days_ago: int, amount: str | None, sku: str = "B93297", resource: str = INSTANCE) -> Usage:
    day = TODAY - timedelta(days=days_ago)
    cost = None if amount is None else Decimal(amount)
    return Usage(day, "COMPUTE", sku, resource, "uk-london-1", 24.0, cost, "USD")


def states(*usages: Usage, now: datetime = NOW) -> dict[int, State]:
    bill = bill_of(usages, now, TODAY - timedelta(days=6))
    return {(TODAY - day.day).days: day.state for day in bill.days}


def test_a_day_is_closed_72_hours_after_its_end() -> None:
    assert states() == {
        6: State.ZERO, 5: State.ZERO, 4: State.ZERO, 3: State.OPEN, 2: State.OPEN, 1: State.OPEN, 0: State.OPEN
    }  # fmt: skip
    assert states(now=datetime(2026, 8, 20, tzinfo=UTC))[4] is State.ZERO
    assert states(now=datetime(2026, 8, 20, tzinfo=UTC) - timedelta(seconds=1))[4] is State.OPEN


@pytest.mark.parametrize(
    ("days_ago", "amount", "sku", "state"),
    [
        (5, "0", "B93297", State.ZERO),
        (5, "0.0000001", "B93297", State.CHARGED),
        (5, "-0.5", "B93297", State.CHARGED),
        (5, None, "B93297", State.UNKNOWN),
        (5, None, "B91444", State.ZERO),
        (5, "0.02", "B91444", State.CHARGED),
        (1, None, "B93297", State.OPEN),
        (1, "0", "B93297", State.OPEN),
        (1, "0.01", "B93297", State.CHARGED),
    ],
)
def test_what_one_figure_makes_of_its_day(days_ago: int, amount: str | None, sku: str, state: State) -> None:
    bill = bill_of([usage(days_ago, amount, sku)], NOW, TODAY - timedelta(days=6))
    assert {(TODAY - day.day).days: day.state for day in bill.days}[days_ago] is state
    assert bill.is_zero == (state in {State.ZERO, State.OPEN})


def test_zero_is_told_with_its_proof() -> None:
    bill = bill_of([usage(5, "0"), usage(1, "0")], NOW, TODAY - timedelta(days=6))
    assert (bill.proven, bill.pending, bill.total) == (3, 4, 0)
    assert bill.summary() == "0.00 USD for 3 days, 4 days still open"


def test_a_charge_names_the_resource_and_breaks_the_proof() -> None:
    bill = bill_of([usage(6, "0.24"), usage(5, "0.24"), usage(4, "0")], NOW, TODAY - timedelta(days=6))
    assert bill.proven == 1
    (line,) = bill.charged
    assert (line.amount, line.days, line.since) == (Decimal("0.48"), 2, TODAY - timedelta(days=6))
    assert bill.summary() == (
        f"0.48 USD for instance {INSTANCE} (COMPUTE B93297 in uk-london-1, on 2 days since 2026-08-14)"
    )


def test_a_credit_does_not_hide_a_charge() -> None:
    bill = bill_of([usage(5, "0.24"), usage(5, "-0.24", resource="")], NOW, TODAY - timedelta(days=6))
    assert bill.total == 0
    assert not bill.is_zero
    assert len(bill.charged) == 2


def test_what_has_no_amount_is_named() -> None:
    bill = bill_of([usage(5, None), usage(4, "0")], NOW, TODAY - timedelta(days=6))
    assert bill.charged == ()
    assert f"Oracle gives no amount for instance {INSTANCE}" in bill.summary()
    assert "B93297 is not free by name" in bill.summary()


@pytest.mark.parametrize(
    ("now", "since", "start", "end"),
    [
        (NOW, None, date(2026, 7, 21), date(2026, 8, 20)),
        (NOW, date(2026, 8, 18), date(2026, 8, 18), date(2026, 8, 20)),
        (NOW, date(2026, 8, 20), date(2026, 8, 19), date(2026, 8, 20)),
        (NOW, date(2020, 1, 1), date(2026, 8, 20) - timedelta(days=MOST_DAYS), date(2026, 8, 20)),
        (datetime(2026, 8, 20, 1, tzinfo=UTC).astimezone(), None, date(2026, 7, 21), date(2026, 8, 20)),
        (datetime.fromisoformat("2026-08-20T23:30:00-05:00"), None, date(2026, 7, 22), date(2026, 8, 21)),
    ],
)
def test_questions_are_cut_at_midnight_utc(now: datetime, since: date | None, start: date, end: date) -> None:
    first, last = span_to_ask(now, since)
    assert (first.date(), last.date()) == (start, end)
    assert {(m.hour, m.minute, m.second, m.tzinfo) for m in (first, last)} == {(0, 0, 0, UTC)}


AMOUNTS = st.none() | st.decimals(-1, 1, places=6) | st.just(Decimal(0))
USAGES = st.lists(
    st.builds(
        lambda ago, amount, sku, name: usage(ago, None if amount is None else str(amount), sku, name),
        st.integers(1, 30), AMOUNTS, st.sampled_from(["B93297", "B91444"]), st.sampled_from(["a", "b", ""]),
    ),
    max_size=30,
)  # fmt: skip


@given(USAGES)
def test_zero_only_if_every_closed_figure_is_known_and_zero(usages: list[Usage]) -> None:
    bill = bill_of(usages, NOW)
    closed = [one for one in usages if (TODAY - one.day).days >= 4]
    nothing_charged = not any(one.cost for one in usages)
    all_known = all(one.cost is not None for one in closed)
    assert bill.is_zero == (nothing_charged and all_known)
    assert bill.total == sum((one.cost or Decimal(0) for one in usages), Decimal(0))
    assert len(bill.days) == 31
    assert bill.proven + bill.pending <= len(bill.days)
    if bill.is_zero:
        assert bill.proven == 27
    counted = {(line.resource, line.sku) for line in (*bill.charged, *bill.unknown)}
    assert {(one.resource, one.sku) for one in usages if one.cost} <= counted


@given(st.decimals(0, 1000, places=9, allow_nan=False))
def test_money_is_never_rounded_to_nothing(amount: Decimal) -> None:
    shown = money(amount, "EUR")
    assert shown.endswith(" EUR")
    assert Decimal(shown.removesuffix(" EUR")) == amount
