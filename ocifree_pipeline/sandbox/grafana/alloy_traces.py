"""What an agent does with traces: its own, which take the way that its configuration describes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import urlsplit

from ocifree_pipeline.deployment.telemetry.pipeline import owner
from ocifree_pipeline.deployment.telemetry.syntax import Block
from ocifree_pipeline.sandbox.grafana import stack, traces
from ocifree_pipeline.sandbox.grafana.wire import NANOS, Span
from ocifree_pipeline.sandbox.world import World

SLOW_NANOS = 1_200_000_000
"""A scrape of the API server takes a second; tail sampling keeps what is slow."""


def push(world: World, components: Mapping[str, Block]) -> None:
    """One span of the agent itself, through processors to an exporter; nothing without a `tracing` block."""
    tracing = components.get("tracing")
    if tracing is None:
        return
    now = int(world.clock.now().timestamp() * NANOS)
    trace = world.fresh("trace", 32).encode().hex()[:32]
    span = Span(trace, trace[:16], "", "prometheus.scrape", now - SLOW_NANOS, now, {}, {"service.name": "alloy"})
    for value in tracing.get("write_to", ()):
        _go_on(world, owner(value, components), span, components)


def _go_on(world: World, block: Block, span: Span, components: Mapping[str, Block]) -> None:
    if block.name == "otelcol.processor.attributes":
        added = {one.get("key"): str(one.get("value")) for one in block.all("action") if one.get("action") == "upsert"}
        span.attributes.update(added)
    if block.name == "otelcol.processor.tail_sampling" and not _sampled(block, span):
        return
    if block.name == "otelcol.exporter.otlphttp":
        _export(world, block, span, components)
        return
    output = block.one("output")
    for value in output.get("traces", ()) if output else ():
        _go_on(world, owner(value, components), span, components)


def _sampled(block: Block, span: Span) -> bool:
    """Whether a policy keeps it. Chance is left out: what only chance would keep is dropped."""
    for policy in block.all("policy"):
        latency = policy.one("latency")
        if latency is not None and (span.end - span.start) / 1e6 >= float(latency.get("threshold_ms")):
            return True
    return False


def _export(world: World, block: Block, span: Span, components: Mapping[str, Block]) -> None:
    client = block.one("client")
    if client is None:
        return
    login = owner(client.get("auth"), components).one("client_auth") if client.get("auth") else None
    user, password = (str(login.get(name)) for name in ("username", "password")) if login else ("", "")
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    try:
        if stack.is_host(urlsplit(str(client.get("endpoint"))).netloc, "traces"):
            stack.admit_data(world, f"Basic {credentials}", "traces", "write")
            traces.push(world, [span])
    except stack.Denied:
        return
