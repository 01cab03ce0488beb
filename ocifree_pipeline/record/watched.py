"""What the watch over claimed machines saw, written into their history: lost, stopped, silent, back."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from ocifree_pipeline.deployment.watching import Turn
from ocifree_pipeline.record.observed import newest

TURN = "watch"


def note_turn(instance: dg.DagsterInstance, machine: str, turn: Turn, words: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=["machines", machine],
            description=f"{turn.value}: {words}",
            metadata={"summary": dg.MetadataValue.text(words), TURN: dg.MetadataValue.text(turn.value)},
        )
    )


def last_turn(instance: dg.DagsterInstance, machine: str) -> tuple[Turn, str] | None:
    """What was seen last of a machine since it was made, in words; None while nothing has happened to it."""
    record = _last(instance, machine, None)
    observed = record.asset_observation if record else None
    if observed is None:
        return None
    return Turn(str(observed.metadata[TURN].value)), str(observed.metadata["summary"].value)


def is_lost(instance: dg.DagsterInstance, machine: str) -> bool:
    """Whether the machine ended since it was last made: somebody has to hunt for another."""
    return _last(instance, machine, Turn.LOST) is not None


def lost_at(instance: dg.DagsterInstance, machine: str) -> int | None:
    """Where in the history the machine ended last, however long ago; None if it never did."""
    record = _search(instance, machine, Turn.LOST, after=None)
    return record.storage_id if record else None


def _last(instance: dg.DagsterInstance, machine: str, turn: Turn | None) -> dg.EventLogRecord | None:
    made = instance.fetch_materializations(dg.AssetKey(["machines", machine]), limit=1).records
    return _search(instance, machine, turn, after=made[0].storage_id) if made else None


def _search(
    instance: dg.DagsterInstance, machine: str, turn: Turn | None, after: int | None
) -> dg.EventLogRecord | None:
    def fits(told: Mapping[str, dg.MetadataValue]) -> bool:
        return TURN in told and turn in (None, told[TURN].value)

    return newest(instance, f"machines/{machine}", fits, after)
