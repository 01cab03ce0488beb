"""What was made and is no more. History is kept, so the end of an asset is written into it like its making."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase

import dagster as dg

from ocifree_pipeline.record.observed import newest
from ocifree_pipeline.systems.oci.teardown import Stage

MARK = "destroyed"

OUTSIDE = (
    "tenancy/limits",
    "tenancy/plan",
    "tenancy/a1_capacity",
    "images/*",
    "talos/secrets",
    "platform/sops_age",
    "monitoring/dashboards",
    "monitoring/alert_rules",
    "assurance/*",
)
"""What does not live in the tenancy's resources outlives them: readings, files here, the vault, other services."""

_INSIDE = (
    ("tenancy/*", Stage.GUARDRAILS),
    ("oci/custom_image/*", Stage.IMAGES),
    ("oci/*", Stage.FOUNDATION),
    ("*", Stage.MACHINES),
)


def stage_of(key: str) -> Stage | None:
    """With which stage of the teardown this asset ends; None if it outlives it. First match wins."""
    if any(fnmatchcase(key, pattern) for pattern in OUTSIDE):
        return None
    return next(stage for pattern, stage in _INSIDE if fnmatchcase(key, pattern))


def note_destroyed(instance: dg.DagsterInstance, key: str, words: str) -> None:
    """From now on nobody takes what this asset recorded for something that stands."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=key.split("/"),
            description=f"destroyed: {words}",
            metadata={
                "summary": dg.MetadataValue.text(f"destroyed: {words}"),
                MARK: dg.MetadataValue.timestamp(datetime.now(UTC)),
            },
        )
    )


def destroyed_since_made(instance: dg.DagsterInstance, key: str) -> float | None:
    """When the asset was destroyed; None while what was made last still counts, or when nothing was ever made."""
    if stage_of(key) is None:
        return None
    made = instance.fetch_materializations(dg.AssetKey.from_user_string(key), limit=1).records
    if not made:
        return None
    mark = last_mark(instance, key, after=made[0].storage_id)
    return mark.timestamp if mark else None


def last_mark(instance: dg.DagsterInstance, key: str, after: int | None = None) -> dg.EventLogRecord | None:
    """The newest end of this asset in its record."""
    return newest(instance, key, lambda told: MARK in told, after)
