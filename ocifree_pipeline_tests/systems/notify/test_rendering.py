"""Each kind of news has words: a title, what to do, and nothing that is not meant."""

from __future__ import annotations

import pytest

from ocifree_pipeline.deployment.notices import Event, Notice
from ocifree_pipeline.systems.notify.rendering import LONGEST, render

VALUES: dict[Event, dict[str, str | tuple[str, ...]]] = {
    Event.CHARGE: {"amount": "0.12 USD since 2026-06-01", "charged": ("lab-ampere-1", "a volume")},
    Event.LOST: {
        "machine": "ampere_1", "turn": "lost", "what": "Oracle has ended it", "below": ("kubernetes",), "next": "wait",
    },
    Event.FAILED: {
        "subject": "oci/network", "what": "Oracle said no", "why": "no rights", "fix": "ocifree doctor",
        "retry": "It does not help.", "again": "ocifree up --select 'oci/network+'", "others": ("a: b", "c: d"),
        "run": "12345678", "trigger": ", asked for by the hunt",
    },
    Event.HUNT_STOPPED: {"why": "401"},
    Event.CLAIMED: {"machine": "ampere_1", "where": "launch in AD-1: had", "next": "ocifree watch"},
    Event.CAPACITY: {"machines": ("ampere_1",), "where": ("AD-1",)},
    Event.IDLE: {"machines": ("bastion",), "what": "may be stopped in 2 days"},
    Event.CERTIFICATE: {"what": "talos/kubeconfig", "when": "good for 3 days", "again": "ocifree up"},
    Event.LIMITS: {"changed": ("A1 OCPUs: 4 -> 2",)},
    Event.DRIFT: {"asset": "oci/network", "what": "a rule is gone", "next": "ocifree drift"},
    Event.CHECK: {"asset": "talos/cluster", "check": "etcd_quorum", "what": "1 of 3"},
    Event.DIGEST: {"days": "3.0", "missing": ("ampere_1", "ampere_2"), "stands": "asked 12 times"},
    Event.TEST: {},
}  # fmt: skip


@pytest.mark.parametrize("event", list(Event), ids=lambda event: event.name.lower())
def test_all_that_is_known_is_said(event: Event) -> None:
    message = render(Notice(event=event, about="x", values=VALUES[event]), "lab")
    text = f"{message.title}\n{message.body}"
    assert message.title.startswith("lab: ")
    assert "\n" not in message.title
    assert message.body
    assert "{" not in text
    for value in VALUES[event].values():
        for part in (value,) if isinstance(value, str) else value:
            assert part in text


def test_a_failure_reads_like_this() -> None:
    message = render(Notice(event=Event.FAILED, about="x", values=VALUES[Event.FAILED]), "lab")
    assert message.title == "lab: oci/network failed"
    assert message.body.splitlines() == [
        "Oracle said no",
        "why: no rights",
        "fix: ocifree doctor",
        "It does not help.",
        "again: ocifree up --select 'oci/network+'",
        "also failed: a: b",
        "also failed: c: d",
        "run 12345678, asked for by the hunt",
    ]


def test_a_missing_value_is_a_fault_and_no_gap() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render(Notice(event=Event.CHARGE, about="x"), "lab")


def test_long_texts_are_cut_and_say_so() -> None:
    changed = tuple(f"limit {number}: {'x' * 90}" for number in range(40))
    body = render(Notice(event=Event.LIMITS, about="x", values={"changed": changed}), "lab").body
    assert len(body) < LONGEST + 100
    assert body.endswith("`ocifree status` has all of it)")


def test_what_was_left_out_is_counted() -> None:
    body = render(Notice(event=Event.TEST, about="x"), "lab", left_out=3).body
    assert "3 older messages could not be delivered" in body
