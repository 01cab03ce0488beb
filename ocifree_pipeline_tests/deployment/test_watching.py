"""What looks at a machine mean, one after the other."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.watching import LOOKS, TURNS, Seen, Turn, Watched, look

A, S, P, G, U = Seen.ANSWERS, Seen.SILENT, Seen.STOPPED, Seen.GONE, Seen.UNKNOWN


def turns(*seen: Seen) -> list[Turn]:
    known, found = Watched(ocid="x"), []
    for one in seen:
        known, turn = look(known, one)
        found += [turn] if turn else []
    return found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([A, A, A], []),
        ([S, S], []),
        ([S, S, S, S], [Turn.SILENT]),
        ([S, A, S, S, A], []),
        ([S, U, S, U, S], [Turn.SILENT]),
        ([G], []),
        ([G, A], []),
        ([G, G, G], [Turn.LOST]),
        ([P, P, A, A], [Turn.STOPPED, Turn.BACK]),
        ([S, S, S, A, S, S, S], [Turn.SILENT, Turn.BACK, Turn.SILENT]),
        ([S, S, S, P, P, G, G], [Turn.SILENT, Turn.STOPPED, Turn.LOST]),
        ([U] * 9, []),
    ],
)
def test_a_turn_for_the_worse_needs_the_same_answer_again(seen: list[Seen], expected: list[Turn]) -> None:
    assert turns(*seen) == expected


@given(st.lists(st.sampled_from(list(Seen)), max_size=30))
def test_nothing_is_told_twice_and_the_last_turn_is_what_is_believed(seen: list[Seen]) -> None:
    found = turns(*seen)
    assert all(one is not other for one, other in pairwise(found))
    certain = [one for one in seen if one is not U]
    for state, needed in LOOKS.items():
        if len(certain) >= needed and set(certain[-needed:]) == {state}:
            assert found[-1] is TURNS[state]
    if certain and certain[-1] is A and found:
        assert found[-1] is Turn.BACK
