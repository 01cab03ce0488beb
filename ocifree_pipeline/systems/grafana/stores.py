"""Ask what has arrived: metrics by PromQL, lines by LogQL, traces by tags, and how much of the free plan is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.deployment.sections.monitoring import GrafanaCloud
from ocifree_pipeline.deployment.telemetry.values import base, otlp_path
from ocifree_pipeline.systems.grafana.http import Door

USAGE = "grafanacloud-usage"


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an answer: its labels, the value, and the time of the question in seconds."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Stores:
    """The three stores of a stack, opened by one access policy token."""

    metrics: Door
    logs: Door
    traces: Door | None

    def query(self, expression: str) -> tuple[Row, ...]:
        found = self.metrics.call("GET", "/api/prom/api/v1/query", "ask for metrics", query={"query": expression})
        return rows_of(found, expression)

    def lines(self, expression: str, since: float, until: float, most: int = 100) -> list[str]:
        """Between two moments in seconds, the youngest first."""
        asked = {"query": expression, "start": f"{int(since * 1e9)}", "end": f"{int(until * 1e9)}", "limit": most}
        found = self.logs.call("GET", "/loki/api/v1/query_range", "ask for logs", query=asked)
        return [str(line) for stream in found["data"]["result"] for _, line in stream["values"]]

    def tell(self, labels: Mapping[str, str], line: str, at: float) -> None:
        """One line of our own."""
        body = {"streams": [{"stream": dict(labels), "values": [[f"{int(at * 1e9)}", line]]}]}
        self.logs.call("POST", "/loki/api/v1/push", "send a line", body=body)

    def streams(self, selector: str, label: str, since: float, until: float) -> int:
        """How many values of a label the streams that match have, of those with lines between two moments."""
        asked = {"query": selector, "start": f"{int(since * 1e9)}", "end": f"{int(until * 1e9)}", "limit": 1000}
        found = self.logs.call("GET", "/loki/api/v1/query_range", "ask for logs", query=asked)
        return len({one["stream"].get(label, "") for one in found["data"]["result"]})

    def trace(self, tags: Mapping[str, str], at: float) -> None:
        """A trace of our own of one span, with tags of its resource."""
        import secrets

        if self.traces is None:
            return
        span = {
            "traceId": secrets.token_hex(16),
            "spanId": secrets.token_hex(8),
            "name": "does this arrive?",
            "kind": 1,
            "startTimeUnixNano": f"{int(at * 1e9)}",
            "endTimeUnixNano": f"{int(at * 1e9) + 1}",
        }
        attributes = [{"key": name, "value": {"stringValue": value}} for name, value in tags.items()]
        body = {"resourceSpans": [{"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [span]}]}]}
        self.traces.call("POST", f"{otlp_path(self.traces.url)}/v1/traces", "send a trace", body=body)

    def traces_with(self, tags: Mapping[str, str], since: float, until: float) -> list[str]:
        """The ids of traces of which a span has all the tags."""
        if self.traces is None:
            return []
        asked = {
            "tags": " ".join(f"{name}={value}" for name, value in tags.items()),
            "start": int(since),
            "end": int(until) + 1,
        }
        found = self.traces.call("GET", "/tempo/api/search", "ask for traces", query=asked)
        return [str(one["traceID"]) for one in found.get("traces") or ()]


def stores_of(cloud: GrafanaCloud, token: SecretStr) -> Stores:
    return Stores(
        metrics=Door("metrics", base(cloud.prometheus), token, cloud.prometheus.user),
        logs=Door("logs", base(cloud.loki), token, cloud.loki.user),
        traces=Door("traces", base(cloud.tempo), token, cloud.tempo.user) if cloud.tempo else None,
    )


def grafana_of(cloud: GrafanaCloud, token: SecretStr) -> Door:
    """The stack's own Grafana; an access policy token does not open it."""
    return Door("grafana", f"https://{cloud.stack}.grafana.net", token)


def usage(grafana: Door, expression: str) -> tuple[Row, ...]:
    """What Grafana Cloud says about the use of the plan. It lies in a data source that only Grafana can ask."""
    path = f"/api/datasources/proxy/uid/{USAGE}/api/v1/query"
    return rows_of(grafana.call("GET", path, "ask for the use of the plan", query={"query": expression}), expression)


def rows_of(found: Any, expression: str) -> tuple[Row, ...]:
    try:
        data = found["data"]
        if data["resultType"] == "scalar":
            return (Row({}, float(data["result"][1])),)
        return tuple(Row(one["metric"], float(one["value"][1])) for one in data["result"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NotVerified(
            f"the answer to {expression} is not in the form of Prometheus",
            why=f"{type(error).__name__}: {error}",
            fix="is monitoring.grafana_cloud.prometheus.url the right address?",
        ) from error
