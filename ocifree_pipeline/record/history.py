"""One history, one deployment: the keys of assets do not name it, so two would take each other's record for theirs."""

from __future__ import annotations

import os
from pathlib import Path

from ocifree_pipeline.deployment.errors import Conflict

MARK = "deployment"


def require_own_history(deployment: str, home: Path) -> None:
    """The first deployment that makes something in a history owns it."""
    mark = home / MARK
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        owner = mark.read_text("utf-8").strip()
        # Empty while the process that made it has not written yet; then it is one of our own run.
        if owner not in ("", deployment):
            raise Conflict(
                f"this history belongs to the deployment {owner}",
                why=f"{deployment} would take what {owner} recorded for its own, and the other way round",
                fix=f"give {deployment} a DAGSTER_HOME of its own; after a change of the name, remove {mark}",
            ) from None
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(deployment + "\n")
