"""What was observed of an asset last, among all that was."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dagster as dg

PAGE = 500


def newest(
    instance: dg.DagsterInstance,
    key: str,
    fits: Callable[[Mapping[str, dg.MetadataValue]], bool],
    after: int | None = None,
) -> dg.EventLogRecord | None:
    """The newest observation whose metadata fits, however many came since."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey.from_user_string(key), after_storage_id=after)
    cursor: str | None = None
    while True:
        found = instance.fetch_observations(wanted, limit=PAGE, cursor=cursor)
        for record in found.records:
            if record.asset_observation and fits(record.asset_observation.metadata):
                return record
        if not found.has_more:
            return None
        cursor = found.cursor
