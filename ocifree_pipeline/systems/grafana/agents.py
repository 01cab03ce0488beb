"""The configuration of the two agents, rendered and checked before it goes anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.deployment.telemetry import pipeline
from ocifree_pipeline.deployment.telemetry.pipeline import Job
from ocifree_pipeline.deployment.telemetry.syntax import Invalid
from ocifree_pipeline.systems.kube.rendering import manifest_folder, render_file

PART = "monitoring"


@dataclass(frozen=True, slots=True)
class Agents:
    """`cluster` runs once and scrapes, `node` runs on every node and reads logs. `digest` names the pair."""

    cluster: str
    node: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.cluster}\0{self.node}".encode()).hexdigest()[:12]

    @property
    def jobs(self) -> tuple[Job, ...]:
        return pipeline.jobs(pipeline.load(self.cluster))


def agents(values: Mapping[str, Any]) -> Agents:
    """Both configurations. Refused, with file and line, when Alloy would not load one of them."""
    return Agents(_rendered("_cluster", values), _rendered("_node", values))


def _rendered(name: str, values: Mapping[str, Any]) -> str:
    folder = manifest_folder()
    text = render_file(folder / PART / f"{name}.alloy.j2", values, folder)
    try:
        pipeline.load(text)
    except Invalid as error:
        line = text.splitlines()[error.line - 1].strip() if 0 < error.line <= text.count("\n") else ""
        raise Refused(
            f"the configuration of the agent{name.replace('_', ' ')} is not valid",
            why=f"{error}: {line}",
            fix="this is a fault of ocifree, or of your copy of its manifests",
        ) from error
    return text
