"""Host capacity as a process: traces, bursts, claims, and a report that errs as often as it was told to."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.capacity import Ask
from ocifree_pipeline.sandbox.oracle.shape_catalogue import A1, MICRO
from ocifree_pipeline.sandbox.profiles import Profile, seed
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.harness import owner_keys

HOUR = 3600


def fresh(directory: Path, *, number: int = 7, profile: Profile | None = None) -> World:
    world = World(directory, seed=number, mode="manual")
    seed(world, profile or Profile(), owner_keys().public_pem)
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return fresh(tmp_path)


def ads(world: World) -> list[str]:
    return world.availability_domains(world.home_region)


def test_there_is_plenty_until_somebody_says_otherwise(world: World) -> None:
    assert len(capacity.openings(world, Ask(ads(world)[0], A1, 2))) == 3
    assert capacity.take(world, Ask(ads(world)[0], A1, 2, "FAULT-DOMAIN-2")) == "FAULT-DOMAIN-2"


def test_a_shape_has_no_room_where_it_has_no_hosts(tmp_path: Path) -> None:
    world = fresh(tmp_path, profile=Profile(a1_absent_ad=2, micro_ad=3))
    assert [bool(capacity.openings(world, Ask(ad, A1, 1))) for ad in ads(world)] == [True, False, True]
    assert [bool(capacity.openings(world, Ask(ad, MICRO, 1))) for ad in ads(world)] == [False, False, True]


def test_a_trace_opens_and_closes_its_windows(world: World) -> None:
    window = {"ad": "*AD-2", "faultDomain": "*-3", "from": HOUR, "to": 2 * HOUR, "ocpus": 2}
    capacity.configure(world, {"process": "trace", "windows": [window]})
    seen = []
    for _ in range(4):
        seen.append([[one.fault_domain for one in capacity.openings(world, Ask(ad, A1, 1))] for ad in ads(world)])
        world.clock.advance(HOUR / 2)
    closed: list[list[str]] = [[], [], []]
    assert seen == [closed, closed, [[], ["FAULT-DOMAIN-3"], []], [[], ["FAULT-DOMAIN-3"], []]]
    assert capacity.openings(world, Ask(ads(world)[1], A1, 1)) == []
    assert capacity.openings(world, Ask(ads(world)[1], MICRO, 1, "FAULT-DOMAIN-1")) == []
    assert capacity.openings(world, Ask(ads(world)[0], MICRO, 1)) != []


def test_a_window_is_one_pool_that_launches_empty(world: World) -> None:
    capacity.configure(world, {"process": "trace", "windows": [{"ocpus": 3}]})
    first, second = ads(world)[:2]
    assert capacity.take(world, Ask(first, A1, 2)) is not None
    assert capacity.take(world, Ask(second, A1, 2)) is None
    assert capacity.take(world, Ask(second, A1, 1)) is not None
    assert capacity.take(world, Ask(first, A1, 1)) is None


def test_bursts_are_the_same_for_the_same_seed_and_only_then(tmp_path: Path) -> None:
    def history(number: int) -> list[bool]:
        world = fresh(tmp_path, number=number)
        capacity.configure(world, {"process": "bursts", "bursts": {"drought": 4 * HOUR, "shower": HOUR}})
        found = []
        for _ in range(200):
            found.append(bool(capacity.openings(world, Ask(ads(world)[0], A1, 1))))
            world.clock.advance(HOUR / 4)
        return found

    assert history(1) == history(1)
    assert history(1) != history(2)
    share = sum(sum(history(number)) for number in range(1, 6)) / 1000
    assert 0.3 < share < 0.68, "three fault domains, each with room for a fifth of the time"


@pytest.mark.parametrize(("precision", "recall"), [(1.0, 1.0), (1.0, 0.4), (0.5, 1.0), (0.8, 0.6)])
def test_the_report_errs_as_often_as_it_was_told(world: World, precision: float, recall: float) -> None:
    windows = [{"from": hour * HOUR, "to": (hour + 1) * HOUR, "ocpus": 4} for hour in range(0, 300, 3)]
    report = {"precision": precision, "recall": recall}
    capacity.configure(world, {"process": "trace", "windows": windows, "report": report})
    ask = Ask(ads(world)[0], A1, 2)
    counts = dict.fromkeys(itertools.product((True, False), repeat=2), 0)
    for _ in range(900):
        truth, (said, count) = bool(capacity.openings(world, ask)), capacity.reported(world, ask)
        counts[truth, said] += 1
        assert count >= 1
        world.clock.advance(HOUR / 3)
    assert counts[True, True] / (counts[True, True] + counts[True, False]) == pytest.approx(recall, abs=0.08)
    assert counts[True, True] / (counts[True, True] + counts[False, True]) == pytest.approx(precision, abs=0.1)


def test_asking_again_at_once_gives_the_same_report(world: World) -> None:
    capacity.configure(world, {"process": "trace", "windows": [{"ocpus": 4}], "report": {"recall": 0.5}})
    ask = Ask(ads(world)[0], A1, 1)
    assert len({capacity.reported(world, ask) for _ in range(20)}) == 1


def test_the_process_survives_a_snapshot(world: World, tmp_path: Path) -> None:
    capacity.configure(world, {"process": "trace", "windows": [{"ocpus": 3}]})
    capacity.take(world, Ask(ads(world)[0], A1, 2))
    state = json.loads(json.dumps(world.to_json()))
    again = World(tmp_path, mode="manual")
    again.load_json(state)
    assert [one.ocpus for one in capacity.openings(again, Ask(ads(world)[0], A1, 1))] == [1, 1, 1]


def test_a_file_may_hold_windows_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps([{"ad": "*AD-1", "from": 10, "ocpus": 1}]))
    assert capacity.load(world, path).process == "trace"
    assert capacity.openings(world, Ask(ads(world)[0], A1, 1)) == []
    world.clock.advance(11)
    assert len(capacity.openings(world, Ask(ads(world)[0], A1, 1))) == 3


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({"process": "luck"}, "process: Input should be 'plenty', 'trace' or 'bursts'"),
        (
            {"windows": [{"from": 5, "to": 5, "ocpus": 1}]},
            "windows.0: Value error, a window from 5.0 to 5.0 never opens",
        ),
        ({"windows": [{"ocpus": -1}]}, "windows.0.ocpus"),
        ({"report": {"precision": 0}}, "report.precision"),
        ({"lateShare": 2}, "lateShare"),
        ({"late_shares": 1}, "late_shares: Extra inputs are not permitted"),
        ({"ban": {"calls": 0, "seconds": 1}}, "ban.calls"),
        ({"ban": {"calls": 1, "seconds": 1, "answer": 403}}, "ban.answer"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(world: World, description: dict[str, Any], says: str) -> None:
    with pytest.raises(capacity.Wrong) as refusal:
        capacity.configure(world, description)
    assert says in str(refusal.value)
    assert capacity.FACTS not in world.facts


@pytest.mark.parametrize("text", ["{", '"plenty"', "7"])
def test_a_file_that_is_no_description_is_refused(world: World, tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(capacity.Wrong, match=r"trace\.json"):
        capacity.load(world, path)
