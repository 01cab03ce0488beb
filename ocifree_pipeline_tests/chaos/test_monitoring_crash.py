"""Monitoring, killed at every call that changes the cluster or Grafana Cloud, before it and after it: the same end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import dagster as dg
import pytest

from ocifree_pipeline.assets import monitoring as assets
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.sandbox.grafana import alerting, boards
from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.assets.test_monitoring import ALLOY, DASHBOARDS, RULES, Ground, Lab, ground, standing
from ocifree_pipeline_tests.chaos.crash import crash_everywhere
from ocifree_pipeline_tests.chaos.doors import grafana, kubernetes

__all__ = ["ground"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

BODIES = {ALLOY: assets._alloy, DASHBOARDS: assets._dashboards, RULES: assets._alert_rules}


def acting(key: str) -> Callable[[Lab], None]:
    """What the asset does, outside of Dagster, which would keep a kill from being one."""

    def act(lab: Lab) -> None:
        outcome = BODIES[key](Step(lab.blueprint, key, lab.instance, lambda line: None))
        lab.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key=key.split("/"), metadata=outcome.as_metadata(0.0))
        )

    return act


def look(lab: Lab) -> object:
    return lab.sandbox.inside(_stands)


def _stands(world: World) -> object:
    """What was asked for, without times and counters."""
    store = clusters.find_existing(world, "lab").store
    kinds = ("configmaps", "secrets", "helmreleases", "helmrepositories")
    objects = [
        (kind, one["metadata"]["name"], one.get("spec"), one.get("data"))
        for kind in kinds
        for one in store.all(kind)
        if one["metadata"].get("namespace") == "monitoring"
    ]
    return (
        sorted(objects, key=str),
        sorted(one["title"] for one in boards.folders(world).values()),
        sorted(str(one["spec"]) for one in boards.boards(world).values()),
        sorted((one["name"], str(one["settings"])) for one in alerting.contact_points(world)),
        alerting.policy(world),
        sorted((name, len(one["rules"])) for name, one in alerting.groups(world).items()),
    )


@pytest.mark.parametrize(
    ("key", "at_least"),
    [
        pytest.param(ALLOY, 10, marks=pytest.mark.exhaustive),
        pytest.param(DASHBOARDS, 7, marks=pytest.mark.exhaustive),
        (RULES, 9),
    ],
)
def test_the_same_end_whenever_the_process_dies(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, at_least: int
) -> None:
    numbers = count()

    @contextmanager
    def fresh() -> Iterator[Lab]:
        with standing(ground, ground.bare, tmp_path / str(next(numbers)), monkeypatch) as lab:
            yield lab

    crash_everywhere(fresh, acting(key), look, at_least=at_least, doors=(kubernetes, grafana))
