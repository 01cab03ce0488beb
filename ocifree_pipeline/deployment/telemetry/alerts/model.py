"""An alert rule: what is wrong, how bad, what it means, and the first command to type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]
Source = Literal["metrics", "usage"]
Needs = Literal["", "proxmox", "gateway", "hunt"]

RUNBOOK = "docs/monitoring.md"


@dataclass(frozen=True, slots=True)
class Alert:
    """`wait` is how long it has to hold. `{{ $labels.x }}` and `{{ $value }}` are written as for Prometheus."""

    name: str
    group: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    context: str
    command: str
    source: Source = "metrics"
    needs: Needs = ""

    @property
    def runbook(self) -> str:
        return f"{RUNBOOK}#{self.name.lower()}"

    def annotations(self) -> dict[str, str]:
        return {
            "summary": self.summary,
            "description": self.context,
            "first_command": self.command,
            "runbook": self.runbook,
        }
