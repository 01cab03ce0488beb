"""The table at the end of `make test-real`: which program proved what, and why others proved nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

PROGRAM = "program"


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Every report carries the program of its test, also from one process to another."""
    for item in items:
        found = item.get_closest_marker("real")
        if found is not None:
            item.user_properties.append((PROGRAM, found.args[0] if found.args else "others"))
        elif item.get_closest_marker("ui") is not None:
            item.user_properties.append((PROGRAM, "Chromium"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Only where there is something to tell."""
    counted: dict[str, dict[str, list[str]]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            program = dict(getattr(report, "user_properties", ())).get(PROGRAM)
            if program is not None:
                counted.setdefault(program, {}).setdefault(outcome, []).append(_told(report, outcome))
    if not counted:
        return
    terminalreporter.section("real programs")
    width = max(map(len, counted))
    for program, outcomes in sorted(counted.items()):
        numbers = ", ".join(f"{len(found)} {outcome}" for outcome, found in outcomes.items())
        terminalreporter.line(f"{program:{width}}  {numbers}")
        for one in dict.fromkeys(outcomes.get("skipped", ())):
            terminalreporter.line(f"{'':{width}}    skipped: {one}")


def _told(report: Any, outcome: str) -> str:
    if outcome == "skipped" and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.nodeid)
