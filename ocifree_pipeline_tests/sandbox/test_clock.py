from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.clock import Mode, VirtualClock, parse, stamp

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Hand:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def clock(mode: Mode, hand: Hand | None = None, rate: float = 1.0) -> VirtualClock:
    return VirtualClock(mode, rate=rate, start=START, monotonic=hand or Hand(), wall=lambda: START)


def applied(clock: VirtualClock) -> list[tuple[str, float]]:
    """Settle, and tell which steps were applied, with the seconds since START that the clock showed meanwhile."""
    seen: list[tuple[str, float]] = []
    clock.settle(lambda step: seen.append((step.transition, (clock.now() - START).total_seconds())))
    return seen


def test_manual_time_stands_still_until_it_is_moved():
    hand = Hand()
    virtual = clock("manual", hand)
    hand.seconds += 500
    assert virtual.now() == START
    virtual.advance(60)
    assert virtual.now() == START + timedelta(seconds=60)


def test_seconds_follow_the_real_clock_times_the_rate():
    hand = Hand()
    virtual = clock("seconds", hand, rate=60)
    hand.seconds += 2
    assert virtual.now() == START + timedelta(minutes=2)
    virtual.set_mode("manual")
    hand.seconds += 100
    assert virtual.now() == START + timedelta(minutes=2)


def test_steps_are_applied_in_order_and_see_the_time_at_which_they_were_due():
    virtual = clock("manual")
    virtual.later(30, "second")
    virtual.later(10, "first")
    virtual.later(3600, "not yet")
    assert applied(virtual) == []
    virtual.advance(86)
    assert applied(virtual) == [("first", 10), ("second", 30)]
    assert virtual.now() == START + timedelta(seconds=86)
    assert [step.transition for step in virtual.pending()] == ["not yet"]


def test_a_long_jump_plays_chains_to_their_end():
    virtual = clock("manual")
    virtual.later(10, "tick")
    seen = []

    def apply(step):
        seen.append((virtual.now() - START).total_seconds())
        virtual.later(10, "tick")

    virtual.advance(45)
    virtual.settle(apply)
    assert seen == [10, 20, 30, 40]


def test_immediate_mode_applies_one_link_of_a_chain_per_settling():
    virtual = clock("immediate")
    virtual.later(600, "link")
    seen = []

    def apply(step):
        seen.append(step.number)
        virtual.later(600, "link")

    for expected in ([1], [1, 2], [1, 2, 3]):
        virtual.settle(apply)
        assert seen == expected


def test_appointments_wait_for_their_time_even_in_immediate_mode():
    virtual = clock("immediate")
    virtual.at(START + timedelta(days=7), "reclaim")
    virtual.later(600, "boot")
    assert applied(virtual) == [("boot", 0)]
    virtual.advance(7 * 86400)
    assert applied(virtual) == [("reclaim", 7 * 86400)]


def test_a_cancelled_step_never_comes():
    virtual = clock("manual")
    number = virtual.later(5, "boot")
    virtual.cancel(number)
    virtual.cancel(number)
    virtual.advance(10)
    assert applied(virtual) == []


def test_skew_is_judged_by_the_hosts_time_whatever_the_hand_did():
    virtual = clock("manual")
    virtual.advance(3 * 86400)
    assert virtual.wall() == START
    virtual.skew_seconds = -400
    assert virtual.wall() == START - timedelta(seconds=400)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: clock("sometimes"), "choose one of immediate, seconds, manual"),  # type: ignore[arg-type]
        (lambda: clock("seconds", rate=0), "above 0"),
        (lambda: clock("manual").advance(-1), "never runs backwards"),
        (lambda: parse("2026-01-01T00:00:00"), "time zone"),
    ],
)
def test_wrong_use_is_told_what_to_do(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


@given(st.lists(st.floats(0, 1000), max_size=20), st.lists(st.floats(0, 400), max_size=20))
def test_every_step_is_applied_once_in_order_however_time_is_cut(delays, jumps):
    virtual = clock("manual")
    for delay in delays:
        virtual.later(delay, "step")
    seen = []
    for jump in [*jumps, 0]:
        virtual.advance(jump)
        virtual.settle(seen.append)
    due = [step for step in seen if step.due <= virtual.now()]
    assert seen == sorted(seen) == due
    assert len(seen) + len(virtual.pending()) == len(delays)
    assert all(step.due > virtual.now() for step in virtual.pending())


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)))  # noqa: DTZ001 - hypothesis wants it naive
def test_stamps_are_read_back_to_the_millisecond(moment):
    assert abs(parse(stamp(moment)) - moment) < timedelta(milliseconds=1)
