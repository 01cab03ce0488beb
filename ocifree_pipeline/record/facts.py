"""Read what an upstream asset recorded last. The only way that facts travel between assets."""

from __future__ import annotations

from typing import TypeVar

import dagster as dg
from pydantic import ValidationError

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.record.destroyed import destroyed_since_made
from ocifree_pipeline.record.outcome import Facts

SomeFacts = TypeVar("SomeFacts", bound=Facts)


def read_facts(instance: dg.DagsterInstance, key: str, kind: type[SomeFacts]) -> SomeFacts:
    """The typed facts of the latest materialization of `key`, or PreconditionMissing that names it."""
    found = find_facts(instance, key, kind)
    if found is None:
        gone = destroyed_since_made(instance, key) is not None
        raise PreconditionMissing(
            f"{key} was destroyed" if gone else f"{key} has not been materialized",
            why="this asset needs what it records",
            fix=materialize_command(key),
        )
    return found


def find_facts(instance: dg.DagsterInstance, key: str, kind: type[SomeFacts]) -> SomeFacts | None:
    """Like `read_facts`, for those who can do without. What was destroyed has no facts any more."""
    event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(key))
    if event is None or event.asset_materialization is None or destroyed_since_made(instance, key) is not None:
        return None
    value = event.asset_materialization.metadata.get("facts")
    try:
        return kind.model_validate(value.value if value is not None else None)
    except ValidationError as error:
        raise PreconditionMissing(
            f"{key} was recorded by another version of this program",
            why=f"{error.error_count()} of its facts do not have the form of {kind.__name__}",
            fix=materialize_command(key),
        ) from error


def materialize_command(key: str) -> str:
    return f"ocifree up --select '{key}'"
