"""Which assets count as made: materialized, and neither destroyed nor lost since."""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from ocifree_pipeline.record.destroyed import destroyed_since_made
from ocifree_pipeline.record.watched import is_lost


def standing(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]) -> set[dg.AssetKey]:
    return {
        record.asset_entry.asset_key
        for record in instance.get_asset_records(list(keys))
        if record.asset_entry.last_materialization_record is not None
        and destroyed_since_made(instance, record.asset_entry.asset_key.to_user_string()) is None
        and not _is_lost_machine(instance, record.asset_entry.asset_key)
    }


def _is_lost_machine(instance: dg.DagsterInstance, key: dg.AssetKey) -> bool:
    return key.path[0] == "machines" and is_lost(instance, key.path[-1])
