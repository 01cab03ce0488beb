"""From a dashboard as data to the JSON that Grafana takes, through Grafana's own builders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.telemetry.boards import filled_in
from ocifree_pipeline.deployment.telemetry.boards.model import Board, Panel, Source

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.common import DataSourceRef

TAG = "ocifree"
HEIGHT, SMALL, TALL = 8, 4, 10
SOURCES: dict[Source, tuple[str, str]] = {
    "metrics": ("prometheus", "grafanacloud-prom"),
    "logs": ("loki", "grafanacloud-logs"),
    "usage": ("prometheus", "grafanacloud-usage"),
}


def uid_of(board: Board, blueprint: Blueprint) -> str:
    """At most 40 characters, which is what Grafana takes."""
    return f"ocifree-{blueprint.declaration.name}-{board.name}"[:40]


def drawn(board: Board, blueprint: Blueprint) -> dict[str, Any]:
    """The dashboard as JSON. Equal boards give equal JSON."""
    from grafana_foundation_sdk.builders import dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    name = blueprint.declaration.name
    built = (
        dashboard.Dashboard(f"{board.title} ({name})")
        .uid(uid_of(board, blueprint))
        .tags([TAG, name])
        .refresh("1m")
        .time("now-6h", "now")
        .editable()
    )
    for title, panels in board.sections:
        built = built.with_row(dashboard.Row(title))
        for panel in panels:
            built = built.with_panel(_panel(panel, blueprint))
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    return found


def _panel(panel: Panel, blueprint: Blueprint) -> Any:
    from grafana_foundation_sdk.builders import dashboard, logs, stat, table, timeseries
    from grafana_foundation_sdk.models import dashboard as model

    kinds: dict[str, tuple[Any, int]] = {
        "lines": (timeseries.Panel, HEIGHT),
        "number": (stat.Panel, SMALL),
        "table": (table.Panel, HEIGHT),
        "logs": (logs.Panel, TALL),
    }
    make, height = kinds[panel.kind]
    built = make().title(panel.title).span(panel.width).height(height).datasource(_source(panel.source))
    if panel.help:
        built = built.description(panel.help)
    if panel.kind != "logs":
        built = built.unit(panel.unit)
    if panel.red_above is not None:
        steps = [model.Threshold(color="green"), model.Threshold(color="red", value=_just_above(panel.red_above))]
        built = built.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    for number, (legend, query) in enumerate(panel.queries):
        built = built.with_target(_target(panel, chr(ord("A") + number), legend, filled_in(query, blueprint)))
    return built


def _just_above(limit: float) -> float:
    """A threshold begins at its value; ours are crossed."""
    return limit + (1 if limit == int(limit) else 0.0001)


def _target(panel: Panel, ident: str, legend: str, query: str) -> Any:
    from grafana_foundation_sdk.builders import loki, prometheus
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

    if panel.source == "logs":
        return loki.Dataquery().expr(query).ref_id(ident)
    target = prometheus.Dataquery().expr(query).ref_id(ident).legend_format(legend)
    if panel.kind == "table":
        # Otherwise each series is a table of its own, of which Grafana shows the first.
        target = target.format(PromQueryFormat.TABLE)
    return target.instant() if panel.kind in {"number", "table"} else target.range()


def _source(source: Source) -> DataSourceRef:
    from grafana_foundation_sdk.models.common import DataSourceRef

    kind, uid = SOURCES[source]
    return DataSourceRef(type_val=kind, uid=uid)
