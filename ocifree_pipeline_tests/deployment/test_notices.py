"""The ledger: the same once, few in an hour, the urgent first, and nothing is lost without a word."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.notices import (
    AN_HOUR,
    CONDITIONS,
    DAY,
    HOUR,
    QUIET,
    Event,
    Ledger,
    Notice,
    Waiting,
    due,
    forget_past,
    known,
    take_in,
    tried,
)

NOW = 1_800_000_000.0


def of(event: Event, about: str = "x") -> Notice:
    return Notice(event=event, about=about)


def sent(ledger: Ledger, now: float) -> tuple[Ledger, list[str]]:
    """Everything that is due, with everybody listening."""
    names = []
    for one in due(ledger, now):
        names.append(one.notice.name)
        ledger = tried(ledger, one, (), now, heard=True)
    return ledger, names


def test_every_event_has_a_pause_and_a_place() -> None:
    assert set(QUIET) == set(Event)


def test_the_same_is_told_again_after_its_pause_only() -> None:
    ledger = take_in(Ledger(), [of(Event.FAILED)], NOW)
    ledger, names = sent(ledger, NOW)
    assert names == ["failed: x"]
    ledger = take_in(ledger, [of(Event.FAILED)], NOW + QUIET[Event.FAILED] - 1)
    assert due(ledger, NOW + QUIET[Event.FAILED] - 1) == ()
    ledger = take_in(ledger, [of(Event.FAILED), of(Event.FAILED, "y")], NOW + QUIET[Event.FAILED])
    assert [one.notice.about for one in due(ledger, NOW + QUIET[Event.FAILED])] == ["x", "y"]


def test_the_urgent_comes_first_and_the_rest_waits_for_the_next_hour() -> None:
    many = [of(Event.DRIFT, str(number)) for number in range(AN_HOUR)]
    ledger, first = sent(take_in(Ledger(), [*many, of(Event.CHARGE)], NOW), NOW)
    assert first == ["charge: x", *(f"drift: {number}" for number in range(AN_HOUR - 1))]
    assert sent(ledger, NOW + HOUR - 1)[1] == []
    assert sent(ledger, NOW + HOUR)[1] == [f"drift: {AN_HOUR - 1}"]


def test_a_condition_that_ended_is_news_when_it_comes_back() -> None:
    drift, claimed = of(Event.DRIFT), of(Event.CLAIMED)
    ledger, _ = sent(take_in(Ledger(), [drift, claimed], NOW), NOW)
    ledger = forget_past(ledger, [drift])
    assert due(take_in(ledger, [drift, claimed], NOW + 60), NOW + 60) == ()
    ledger = forget_past(ledger, [])
    assert [one.notice.event for one in due(take_in(ledger, [drift, claimed], NOW + 60), NOW + 60)] == [Event.DRIFT]


def test_what_is_older_than_the_wish_to_be_told_is_not_told() -> None:
    ledger = known(Ledger(), [of(Event.LIMITS)], NOW)
    assert due(take_in(ledger, [of(Event.LIMITS)], NOW + 60), NOW + 60) == ()


def test_who_could_not_be_told_is_asked_again_alone_and_ever_more_rarely() -> None:
    ledger = take_in(Ledger(), [of(Event.FAILED)], NOW)
    (one,) = due(ledger, NOW)
    ledger = tried(ledger, one, ("env:MAIL",), NOW, heard=True)
    assert due(ledger, NOW + 59) == ()
    (again,) = due(ledger, NOW + 60)
    assert again.to == ("env:MAIL",)
    ledger = tried(ledger, again, ("env:MAIL",), NOW + 60, heard=False)
    assert due(ledger, NOW + 179) == ()
    assert len(due(ledger, NOW + 180)) == 1


def test_what_nobody_could_be_told_within_a_day_is_counted() -> None:
    ledger = take_in(Ledger(), [of(Event.DRIFT)], NOW)
    ledger = take_in(ledger, [of(Event.CHARGE)], NOW + DAY + 1)
    assert [one.notice.event for one in ledger.waiting] == [Event.CHARGE]
    assert ledger.left_out == 1
    ledger, _ = sent(ledger, NOW + DAY + 1)
    assert ledger.left_out == 0, "it was said with the charge"


NOTICES = st.builds(Notice, event=st.sampled_from(list(Event)), about=st.sampled_from("abcdefgh"))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(1, 3 * HOUR), st.lists(NOTICES, max_size=12), st.booleans()), max_size=25))
def test_whatever_happens_nobody_hears_more_than_a_few_an_hour_and_json_keeps_it(
    steps: list[tuple[float, list[Notice], bool]],
) -> None:
    ledger, now, heard = Ledger(), NOW, []
    for pause, notices, up in steps:
        now += pause
        ledger = take_in(forget_past(ledger, notices), notices, now)
        ledger = Ledger.model_validate_json(ledger.model_dump_json())
        for one in due(ledger, now):
            ledger = tried(ledger, one, () if up else ("a",), now, heard=up)
            heard += [now] if up else []
        names = [one.notice.name for one in ledger.waiting]
        assert len(names) == len(set(names))
    assert all(sum(at <= other < at + HOUR for other in heard) <= AN_HOUR for at in heard)


def test_a_clock_that_was_ahead_silences_nobody() -> None:
    ledger = take_in(Ledger(), [of(Event.DRIFT)], NOW + 900 * DAY)
    for one in due(ledger, NOW + 900 * DAY):
        ledger = tried(ledger, one, ("a",), NOW + 900 * DAY, heard=True)
    ledger = take_in(ledger, [of(Event.CHARGE)], NOW)
    assert [one.notice.event for one in due(ledger, NOW)] == [Event.CHARGE]
    assert [one.notice.event for one in due(ledger, NOW + HOUR)] == [Event.CHARGE, Event.DRIFT]
    assert take_in(ledger, [of(Event.DRIFT)], NOW + DAY).told["drift: x"] == NOW + DAY


def test_a_waiting_notice_is_replaced_by_the_newer_of_its_kind() -> None:
    old, new = Notice(event=Event.TEST, about="x", values={"a": "1"}), Notice(event=Event.TEST, about="x")
    ledger = take_in(take_in(Ledger(), [old], NOW), [new], NOW + 1)
    assert ledger.waiting == (Waiting(notice=new, since=NOW + 1),)
    assert Event.TEST not in CONDITIONS
