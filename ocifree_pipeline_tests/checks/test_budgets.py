"""Budgets are data: each is watched by something that exists, shown in the docs, and compared."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import dagster as dg
import pytest

from ocifree_pipeline.checks.budgets import in_time
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.budgets import BUDGETS, IN_TIME, Budget
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.definition import Step

ROOT = Path(__file__).parents[2]
BUDGET = Budget("it stands", 100, "s", "x", ("oci/network", "oci/reserved_ips"))


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return blueprint_of(parse(example("proxmox-ceph")))


@pytest.fixture(scope="module")
def checks(blueprint: Blueprint) -> set[str]:
    graph = definitions_for(blueprint).resolve_asset_graph()
    return {f"{key.asset_key.to_user_string()}:{key.name}" for key in graph.asset_check_keys}


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.name)
def test_every_budget_is_watched_by_something_and_shown(budget: Budget, checks: set[str]) -> None:
    if budget.watched.endswith(".py"):
        assert (ROOT / budget.watched).exists()
    elif ":" in budget.watched:
        watched = budget.watched if budget.at is None else f"{budget.at}:{IN_TIME}"
        monitoring = budget.watched.startswith("monitoring/")  # this example has no stack
        assert monitoring or any(fnmatchcase(check, watched) for check in checks), watched
    page = (ROOT / "docs" / "budgets.md").read_text("utf-8")
    assert f"| {budget.name} | {budget.words} | `{budget.watched}` |" in page


@pytest.mark.parametrize(
    ("first", "second", "passed", "words"),
    [
        (60.0, 30.0, True, "90 s of 100 s: it stands"),
        (60.0, 50.0, False, "110 s of 100 s: it stands"),
        (60.0, None, True, "60 s of 100 s: it stands"),
    ],
)
def test_the_first_making_counts(
    blueprint: Blueprint, first: float, second: float | None, passed: bool, words: str
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for key, seconds in (("oci/network", first), ("oci/reserved_ips", second), ("oci/network", 1.0)):
            if seconds is not None:
                metadata = {"seconds": dg.MetadataValue.float(seconds)}
                instance.report_runless_asset_event(dg.AssetMaterialization(key.split("/"), metadata=metadata))
        verdict = in_time(BUDGET, Step(blueprint, "oci/reserved_ips", instance, print))
    assert (verdict.passed, verdict.summary, verdict.warn) == (passed, words, True)
