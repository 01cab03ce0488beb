"""Checks of the group kubernetes: are the secrets of the cluster still there, and for how long are they valid."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.outcome import Scalar
from ocifree_pipeline.record.talos import days_left, kept_bundle, now

FEW_DAYS = 30


def secrets_kept(step: Step) -> Verdict:
    """Opens the vault: a lost key to it is found out here, and not when a node has to be added."""
    left = days_left(kept_bundle(step), now())
    name, days = min(left.items(), key=lambda one: one[1])
    rows: tuple[Mapping[str, Scalar], ...] = tuple(
        {"authority": authority, "days left": number} for authority, number in left.items()
    )
    if days < 0:
        return Verdict(False, f"the authority of {name} has expired", {"days left": days}, rows)
    said = f"kept; the first to expire is {name}, in {days} days"
    return Verdict(days >= FEW_DAYS, said, {"days left": days}, rows, warn=True)
