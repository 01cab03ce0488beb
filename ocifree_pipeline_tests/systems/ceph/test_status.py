"""Whether Ceph is good enough: what is let pass, what is not, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.sandbox.ceph import reports
from ocifree_pipeline.systems.ceph.status import ALLOWED, Judgement, judge, parse
from ocifree_pipeline_tests.sandbox.ceph_lab import Lab, formed


def verdict(lab: Lab) -> Judgement:
    return judge(parse(lab.asked("-s")), monitors=3, osds=3)


def healthy(lab: Lab) -> None:
    """As it was formed."""


def crashed(lab: Lab) -> None:
    lab.shared["crashes"] = ["2026-01-01_osd.1"]


def flagged(lab: Lab) -> None:
    lab.good("one", "ceph osd set noout")


def muted(lab: Lab) -> None:
    flagged(lab)
    lab.good("one", "ceph health mute OSDMAP_FLAGS")


def skewed(lab: Lab) -> None:
    lab.nodes["three"].skew = -2.0


def off(lab: Lab) -> None:
    lab.switch_off("three")


def given_up(lab: Lab) -> None:
    lab.switch_off("three")
    lab.pass_time(700)
    lab.pass_time(100)
    assert set(parse(lab.asked("-s")).checks) == {"MON_DOWN"}, "Ceph itself counts it no more"


def taken_out(lab: Lab) -> None:
    lab.good("one", "ceph osd out 1")


def filling(lab: Lab) -> None:
    lab.switch_off("three")
    lab.pass_time(60)
    lab.switch_on("three")


def full(lab: Lab) -> None:
    next(pool for pool in lab.shared["pools"].values() if pool["application"] == "rbd")["bytes"] = 60 * 1024**3


def leaderless(lab: Lab) -> None:
    for node in lab.nodes.values():
        node.stopped = frozenset({f"ceph-mgr@{node.name}"})


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (healthy, []),
        (crashed, []),
        (flagged, ["OSDMAP_FLAGS: noout flag(s) set"]),
        (muted, ["OSDMAP_FLAGS: noout flag(s) set"]),
        (skewed, ["MON_CLOCK_SKEW: clock skew detected on mon.three"]),
        (
            off,
            [
                "MON_DOWN: 1/3",
                "OSD_DOWN",
                "OSD_HOST_DOWN",
                "PG_DEGRADED",
                "2 of 3 monitors",
                "of 3 OSDs 3",
                "placement groups are active+undersized+degraded",
            ],
        ),
        (given_up, ["MON_DOWN", "2 of 3 monitors are in", "of 3 OSDs 3 exist, 2 are up, 2 are in"]),
        (taken_out, ["of 3 OSDs 3 exist, 3 are up, 2 are in", "placement groups are"]),
        (filling, ["PG_DEGRADED", "placement groups are active+degraded+recovering"]),
        (full, ["OSD_FULL: 3 full osd(s) (nothing can be written any more"]),
        (leaderless, ["MGR_DOWN", "no manager is active"]),
    ],
)
def test_named_warnings_pass_and_everything_else_is_a_reason(spoil: Any, reasons: list[str]) -> None:
    lab = formed(2, 1)
    spoil(lab)
    found = verdict(lab)
    assert found.is_good == (not reasons)
    for reason in reasons:
        assert any(reason in one for one in found.reasons), (reason, found.reasons)


def test_what_is_tolerated_is_still_told() -> None:
    lab = formed(2, 1)
    crashed(lab)
    assert verdict(lab).sentence() == (
        "RECENT_CRASH: 1 daemons have recently crashed (a daemon has crashed once and runs again; `ceph crash ls` says "
        "which)"
    )
    assert "OSD_DOWN" not in ALLOWED


def test_the_apis_answer_means_the_same() -> None:
    lab = formed(2, 1)
    off(lab)
    assert parse(reports.api_status(lab.site("one"))) == parse(lab.asked("-s"))
