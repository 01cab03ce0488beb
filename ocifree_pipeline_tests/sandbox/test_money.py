"""The ledger and the bill by themselves: arithmetic that no client sees, only its sums."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox import billing, money, profiles
from ocifree_pipeline.sandbox.clock import VirtualClock
from ocifree_pipeline.sandbox.world import Resource, World
from ocifree_pipeline_tests.sandbox.harness import owner_keys

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
HOURS = 744
AD = "Kfkm:UK-LONDON-1-AD-1"
FREE = {"B93297": 1500, "B93298": 9000, "B91961": 200, "B91962": 2000, "B93030": 744, "B93031": 7440, "B91628": 10}
PRICES = {
    "B93297": 0.01,
    "B93298": 0.0015,
    "B91961": 0.0255,
    "B91962": 0.0017,
    "B93030": 0.0113,
    "B93031": 0.0001,
    "B91628": 0.0255,
}


def world(start: datetime = MARCH, account: str = "payg", **profile: int) -> World:
    made = World(Path("unused"), clock=VirtualClock("manual", start=start))
    profiles.seed(made, profiles.Profile(account=account, **profile), owner_keys().public_pem)  # type: ignore[arg-type]
    return made


def thing(made: World, kind: str = "instance") -> Resource:
    body = {"compartmentId": made.tenancy, "displayName": kind, "availabilityDomain": AD}
    return made.add(kind, body)


def a1(ocpus: float, memory: float = 6) -> dict[str, object]:
    return {"shape": "VM.Standard.A1.Flex", "ocpus": ocpus, "memoryInGBs": memory}


def bill(made: World, end: datetime = APRIL) -> tuple[dict[str, float], dict[str, float]]:
    """Quantities and amounts of March by SKU."""
    quantities: dict[str, float] = defaultdict(float)
    amounts: dict[str, float] = defaultdict(float)
    for charge in billing.charges(made, MARCH, end):
        quantities[charge.sku.number] += charge.quantity
        amounts[charge.sku.number] += charge.amount or 0.0
    return dict(quantities), dict(amounts)


def month_of(kind: str, facts: dict[str, object], **profile: int):
    made = world(**profile)
    money.begin(made, thing(made, kind), facts)
    made.clock.advance(HOURS * 3600)
    return bill(made)


@pytest.mark.parametrize(
    ("kind", "facts", "quantities", "cost"),
    [
        ("instance", a1(2, 12), {"B93297": 1488, "B93298": 8928}, 0.0),
        ("instance", a1(4, 24), {"B93297": 2976, "B93298": 17856}, 14.76 + 13.284),
        ("instance", {"shape": "VM.Standard.E4.Flex", "ocpus": 1, "memoryInGBs": 16}, {"B93113": 744}, 18.6 + 17.856),
        ("instance", {"shape": "VM.Standard.E2.1.Micro"}, {"B91444": 744}, 0.0),
        ("bootvolume", {"sizeInGBs": 200, "vpusPerGB": 10}, {"B91961": 200, "B91962": 2000}, 0.0),
        ("volume", {"sizeInGBs": 250, "vpusPerGB": 10}, {"B91961": 250, "B91962": 2500}, 1.275 + 0.85),
        ("volume", {"sizeInGBs": 100, "vpusPerGB": 30}, {"B91961": 100, "B91962": 3000}, 1.7),
        ("loadbalancer", {"bandwidthMbps": 10}, {"B93030": 744, "B93031": 7440}, 0.0),
        ("loadbalancer", {"bandwidthMbps": 100}, {"B93031": 74400}, 6.696),
        ("bucket", {"bytes": 20 * 1024**3}, {"B91628": 20}, 0.255),
    ],
)
def test_a_month_of_one_resource(kind, facts, quantities, cost):
    used, amounts = month_of(kind, facts)
    for sku, quantity in quantities.items():
        assert used[sku] == pytest.approx(quantity)
    assert sum(amounts.values()) == pytest.approx(cost)


def test_the_larger_allowance_of_earlier_years_is_a_profile():
    _, amounts = month_of("instance", a1(4, 24), free_ocpu_hours=3000, free_memory_gb_hours=18000)
    assert sum(amounts.values()) == 0


def test_a_free_account_is_never_charged():
    made = world(account="free")
    money.begin(made, thing(made), a1(4, 24))
    made.clock.advance(HOURS * 3600)
    quantities, amounts = bill(made)
    assert quantities["B93297"] == pytest.approx(2976)
    assert set(amounts.values()) == {0.0}


def test_what_is_free_goes_to_what_came_first():
    made = world()
    first, second = thing(made), thing(made)
    money.begin(made, first, a1(2))
    made.clock.advance(372 * 3600)
    money.begin(made, second, a1(4))
    made.clock.advance(372 * 3600)
    costs: dict[str, float] = defaultdict(float)
    for charge in billing.charges(made, MARCH, APRIL):
        costs[charge.span.ocid] += charge.amount or 0 if charge.sku.number == "B93297" else 0
    # 744 hours before, then 6 an hour: the remaining 756 last for 126 of the 372 hours
    assert sum(costs.values()) == pytest.approx((744 + 6 * 372 - 1500) * 0.01)
    assert costs[second.ocid] == pytest.approx(2 * costs[first.ocid])


def test_the_free_part_begins_anew_every_month():
    made = world()
    money.begin(made, thing(made), a1(4))
    made.clock.advance(HOURS * 3600 + 300 * 3600)
    april = billing.charges(made, APRIL, APRIL + timedelta(hours=300))
    assert sum(charge.amount or 0 for charge in april) == 0
    assert sum(charge.amount or 0 for charge in billing.charges(made, MARCH, APRIL)) > 0


def test_spans_outlive_their_resource_and_stop_when_told():
    made = world()
    machine = thing(made)
    money.begin(made, machine, a1(1))
    made.clock.advance(3600)
    money.begin(made, machine, a1(2))
    made.clock.advance(3600)
    money.end(made, machine)
    money.end(made, machine)
    made.remove(machine)
    made.clock.advance(3600)
    assert bill(made)[0]["B93297"] == pytest.approx(3)
    restored = world()
    restored.load_json(made.to_json())
    assert bill(restored) == bill(made)


def test_what_has_no_price_is_refused_before_it_is_used():
    made = world()
    with pytest.raises(LookupError, match="'teapot' has no price"):
        money.begin(made, thing(made, "teapot"), {})
    with pytest.raises(KeyError):
        money.begin(made, thing(made), {"shape": "VM.Standard.Z9"})


@pytest.mark.parametrize(
    ("now", "known"),
    [
        ("2026-03-02T05:59:59", "2026-03-01T18"),
        ("2026-03-02T06:00", "2026-03-02T00"),
        ("2026-03-02T12", "2026-03-02T06"),
    ],
)
def test_figures_are_hours_old(now, known):
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert billing.reported_until(moment) == datetime.fromisoformat(known).replace(tzinfo=UTC)


STAYS = st.lists(
    st.tuples(
        st.sampled_from(["instance", "volume", "loadbalancer"]), st.integers(0, 743 * 60), st.integers(1, 60 * 400)
    ),
    min_size=1,
    max_size=6,
)
FACTS = {"instance": a1(5, 30), "volume": {"sizeInGBs": 300, "vpusPerGB": 20}, "loadbalancer": {"bandwidthMbps": 30}}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STAYS)
def test_the_sum_of_all_hours_is_what_lies_above_the_free_part(stays):
    made = world()
    events = []
    for kind, start, minutes in stays:
        resource = thing(made, kind)
        events += [(start, True, resource), (min(start + minutes, HOURS * 60), False, resource)]
    passed = 0
    for minute, begins, resource in sorted(events, key=lambda event: (event[0], event[1])):
        made.clock.advance((minute - passed) * 60)
        passed = minute
        if begins:
            money.begin(made, resource, FACTS[resource.kind])
        else:
            money.end(made, resource)
    quantities, amounts = bill(made)
    for sku, quantity in quantities.items():
        assert amounts[sku] == pytest.approx(max(0.0, quantity - FREE[sku]) * PRICES[sku])
    hours = sum((min(start + minutes, HOURS * 60) - start) / 60 for kind, start, minutes in stays if kind == "instance")
    assert quantities.get("B93297", 0) == pytest.approx(5 * hours)
