"""The seven-day rule: which instances are taken back, and when."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox import idle, money, outbox
from ocifree_pipeline.sandbox.oracle.wire import load_services
from ocifree_pipeline.sandbox.world import Resource, World
from ocifree_pipeline_tests.sandbox.test_money import AD, world

DAY = 86400
A1 = {"shape": "VM.Standard.A1.Flex", "ocpus": 1, "memoryInGBs": 6}
MICRO = {"shape": "VM.Standard.E2.1.Micro", "ocpus": 1, "memoryInGBs": 1}
PAID = {"shape": "VM.Standard.E4.Flex", "ocpus": 1, "memoryInGBs": 16}


@pytest.fixture(autouse=True)
def _services() -> None:
    load_services()


def running(made: World, facts: dict[str, object]) -> Resource:
    body = {
        "compartmentId": made.tenancy,
        "displayName": "node",
        "availabilityDomain": AD,
        "lifecycleState": "RUNNING",
        "shape": facts["shape"],
        "shapeConfig": {"ocpus": facts["ocpus"], "memoryInGBs": facts["memoryInGBs"]},
    }
    instance = made.add("instance", body)
    money.begin(made, instance, facts)
    return instance


def pass_days(made: World, days: float) -> None:
    made.clock.advance(days * DAY)
    made.settle()


@pytest.mark.parametrize(
    ("facts", "busy", "state"),
    [
        (MICRO, None, "STOPPED"),
        (A1, None, "RUNNING"),
        (A1, (5, 5, 10), "STOPPED"),
        (A1, (25, 5, 10), "RUNNING"),
        (A1, (5, 25, 10), "RUNNING"),
        (A1, (5, 5, 20), "RUNNING"),
        (MICRO, (5, 5, 90), "STOPPED"),
        (MICRO, (20, 5, 5), "RUNNING"),
        (PAID, (0, 0, 0), "RUNNING"),
    ],
)
def test_what_is_idle_for_a_week_is_stopped(facts, busy, state):
    made = world(account="free")
    instance = running(made, facts)
    if busy:
        idle.load(made, instance, cpu=busy[0], network=busy[1], memory=busy[2])
    pass_days(made, 6.9)
    assert instance.state == "RUNNING"
    pass_days(made, 0.2)
    assert instance.state == state
    assert len(outbox.messages(made)) == (state == "STOPPED")


def test_a_paying_account_keeps_its_idle_instances():
    made = world(account="payg")
    instance = running(made, MICRO)
    pass_days(made, 30)
    assert instance.state == "RUNNING"


def test_load_that_ends_saves_an_instance_for_another_week_less_its_share():
    made = world(account="free")
    instance = running(made, A1)
    idle.load(made, instance, cpu=50, network=1, memory=10)
    pass_days(made, 5)
    idle.load(made, instance, cpu=2, network=1, memory=10)
    pass_days(made, 6)
    assert instance.state == "RUNNING", "14 percent of the week were busy"
    pass_days(made, 1.1)
    assert instance.state == "STOPPED"


def test_what_runs_again_has_a_week_again():
    made = world(account="free")
    instance = running(made, MICRO)
    pass_days(made, 5)
    money.end(made, instance)
    made.change(instance, lifecycleState="STOPPED")
    pass_days(made, 3)
    made.change(instance, lifecycleState="RUNNING")
    money.begin(made, instance, MICRO)
    pass_days(made, 6.9)
    assert instance.state == "RUNNING"
    pass_days(made, 0.2)
    assert instance.state == "STOPPED"


@given(st.lists(st.integers(0, 100), min_size=20, max_size=200))
def test_the_percentile_of_equal_stretches(values):
    found = idle.percentile([(value, 1.0) for value in values])
    below = sum(value <= found for value in values)
    assert below >= 0.95 * len(values)
    assert sum(value < found for value in values) < 0.95 * len(values)
    assert min(values) <= found <= max(values)
    assert found >= statistics.median(values)
