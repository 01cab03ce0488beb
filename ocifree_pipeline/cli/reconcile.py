"""ocifree reconcile: the work of the sensor `release_orphans`, at once and without a daemon."""

from __future__ import annotations

from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import say, say_json


def release_all(as_json: bool) -> None:
    ensure_home()
    import dagster as dg

    from ocifree_pipeline.automation.orphans import find_orphans, release

    with dg.DagsterInstance.get() as instance:
        orphans = find_orphans(instance)
        for orphan in orphans:
            release(instance, orphan)
    if as_json:
        say_json([{"run": orphan.run.run_id, "reason": orphan.reason} for orphan in orphans])
        return
    for orphan in orphans:
        say(f"released {orphan.run.run_id[:8]}: {orphan.reason}")
    if not orphans:
        say("every unfinished run has a living process")
