"""One check factory for everything that was promised to take no longer than so many minutes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.budgets import BUDGETS, IN_TIME, Budget
from ocifree_pipeline.record.definition import Step, Verdict, define_check
from ocifree_pipeline.record.outcome import Scalar


def budget_checks(blueprint: Blueprint, keys: frozenset[str]) -> Iterator[dg.AssetChecksDefinition]:
    for budget in BUDGETS:
        if budget.at in keys:
            yield define_check(
                blueprint,
                str(budget.at),
                IN_TIME,
                partial(in_time, budget),
                describe=f"{budget.name[0].upper()}{budget.name[1:]} within {budget.words}, when it was made first.",
            )


def in_time(budget: Budget, step: Step) -> Verdict:
    """A warning: what took long is nevertheless made."""
    took = {key: seconds for key in budget.assets if (seconds := _made_in(step.instance, key)) is not None}
    total = sum(took.values())
    rows: tuple[Mapping[str, Scalar], ...] = tuple({"asset": key, "seconds": took[key]} for key in took)
    said = f"{total:.0f} s of {budget.words}: {budget.name}"
    return Verdict(total <= budget.most, said, {"seconds": round(total, 1)}, rows, warn=True)


def _made_in(instance: dg.DagsterInstance, key: str) -> float | None:
    """How long it took to make it for the first time; what comes later mostly finds that there is nothing to do."""
    found = instance.fetch_materializations(dg.AssetKey.from_user_string(key), limit=1, ascending=True).records
    event = found[0].asset_materialization if found else None
    value = event.metadata.get("seconds") if event else None
    return float(value.value) if value is not None and isinstance(value.value, (int, float)) else None
