"""ocifree ui: webserver and daemon on loopback. Dagster's webserver has no login, so it never listens elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import say


def serve(path: Path | None, port: int) -> None:
    blueprint_for(path)
    export_declaration(path)
    ensure_home()
    say(f"http://127.0.0.1:{port}  (Ctrl-C ends it; runs that are under way go on)")
    command = [sys.executable, "-m", "dagster", "dev", "-m", "ocifree_pipeline.definitions"]
    os.execv(sys.executable, [*command, "-h", "127.0.0.1", "-p", str(port)])  # noqa: S606
