"""The components of Alloy that our configuration may use, with what they take: a misspelt attribute is an error here.

This is no copy of Alloy's schema. What is not listed is refused, so using more means adding a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ocifree_pipeline.deployment.telemetry.syntax import Block, Invalid, Reference


@dataclass(frozen=True, slots=True)
class Shape:
    """Attributes (those with ! are required), nested blocks, and whether the component has a label."""

    attributes: frozenset[str]
    blocks: Mapping[str, Shape]
    labelled: bool = True

    @property
    def known(self) -> frozenset[str]:
        return frozenset(name.removesuffix("!") for name in self.attributes)

    @property
    def required(self) -> frozenset[str]:
        return frozenset(name.removesuffix("!") for name in self.attributes if name.endswith("!"))


def _shape(attributes: str = "", *, labelled: bool = True, **blocks: Shape) -> Shape:
    return Shape(frozenset(attributes.split()), blocks, labelled)


_TLS = _shape("ca_file server_name insecure_skip_verify")
_BASIC = _shape("username! password!")
_RULE = _shape("action source_labels separator regex target_label replacement modulus")
_OUTPUT = _shape("metrics logs traces")
_SELECTOR = _shape("role! label field")
_SCRAPE = (
    "targets! forward_to! job_name scrape_interval scrape_timeout scheme metrics_path params honor_labels sample_limit "
    "bearer_token_file follow_redirects"
)

_STAGES = {
    f"stage.{name}": _shape(attributes, labelled=False)
    for name, attributes in {
        "cri": "",
        "json": "expressions! source drop_malformed",
        "labels": "values!",
        "static_labels": "values!",
        "label_drop": "values!",
        "output": "source!",
        "drop": "source separator value expression older_than longer_than drop_counter_reason",
        "limit": "rate! burst! drop by_label_name max_distinct_labels",
    }.items()
} | {"stage.truncate": _shape(labelled=False, rule=_shape("limit! suffix source_type sources", labelled=False))}

COMPONENTS: Mapping[str, Shape] = {
    "logging": _shape("level format write_to", labelled=False),
    "tracing": _shape("sampling_fraction write_to", labelled=False),
    "livedebugging": _shape("enabled", labelled=False),
    "discovery.kubernetes": _shape(
        "role!", selectors=_SELECTOR, namespaces=_shape("own_namespace names"), attach_metadata=_shape("node")
    ),
    "discovery.relabel": _shape("targets!", rule=_RULE),
    "prometheus.scrape": _shape(_SCRAPE, tls_config=_TLS, basic_auth=_BASIC),
    "prometheus.relabel": _shape("forward_to! max_cache_size", rule=_RULE),
    "prometheus.remote_write": _shape(
        "external_labels",
        endpoint=_shape(
            "url! name send_native_histograms",
            basic_auth=_BASIC,
            queue_config=_shape("capacity max_shards max_samples_per_send sample_age_limit"),
            write_relabel_config=_RULE,
        ),
        wal=_shape("truncate_frequency min_keepalive_time max_keepalive_time"),
    ),
    "local.file_match": _shape("path_targets! sync_period"),
    "loki.source.file": _shape("targets! forward_to! tail_from_end"),
    "loki.source.kubernetes_events": _shape("forward_to! job_name namespaces log_format"),
    "loki.relabel": _shape("forward_to! max_cache_size", rule=_RULE),
    "loki.process": Shape(frozenset({"forward_to!"}), _STAGES),
    "loki.write": _shape(
        "external_labels max_streams", endpoint=_shape("url! name batch_size batch_wait", basic_auth=_BASIC)
    ),
    "otelcol.receiver.otlp": _shape("", grpc=_shape("endpoint"), http=_shape("endpoint"), output=_OUTPUT),
    "otelcol.receiver.tcplog": _shape("listen_address! max_log_size add_attributes", output=_OUTPUT),
    "otelcol.processor.memory_limiter": _shape("check_interval! limit spike_limit", output=_OUTPUT),
    "otelcol.processor.attributes": _shape("", action=_shape("key! action! value"), output=_OUTPUT),
    "otelcol.processor.batch": _shape("timeout send_batch_size send_batch_max_size", output=_OUTPUT),
    "otelcol.processor.tail_sampling": _shape(
        "decision_wait num_traces",
        policy=_shape(
            "name! type!",
            status_code=_shape("status_codes!"),
            latency=_shape("threshold_ms!"),
            probabilistic=_shape("sampling_percentage!"),
        ),
        output=_OUTPUT,
    ),
    "otelcol.exporter.loki": _shape("forward_to!"),
    "otelcol.exporter.otlphttp": _shape("", client=_shape("endpoint! auth compression")),
    "otelcol.auth.basic": _shape("", client_auth=_BASIC),
}
_EXPORTS = ("receiver", "output", "targets", "input", "handler")


def check(blocks: Iterable[Block]) -> dict[str, Block]:
    """Every component by its name, once it is sure that all are known, complete and refer to what exists."""
    found: dict[str, Block] = {}
    for block in blocks:
        shape = COMPONENTS.get(block.name)
        if shape is None:
            raise Invalid(block.line, f"cannot find the definition of component name {block.name!r}")
        if bool(block.label) is not shape.labelled:
            raise Invalid(block.line, f"block {block.name!r} {'requires' if shape.labelled else 'has no'} label")
        if block.ident in found:
            raise Invalid(block.line, f"block {block.ident} already declared at line {found[block.ident].line}")
        _fits(block, shape)
        found[block.ident] = block
    for block in found.values():
        _refers(block, found)
    return found


def _fits(block: Block, shape: Shape) -> None:
    for name in block.attributes:
        if name not in shape.known:
            raise Invalid(block.line, f"unrecognized attribute name {name!r} in {block.name}")
    for name in sorted(shape.required - block.attributes.keys()):
        raise Invalid(block.line, f"missing required attribute {name!r} in {block.name}")
    for inner in block.blocks:
        if inner.name not in shape.blocks:
            raise Invalid(inner.line, f"unrecognized block name {inner.name!r} in {block.name}")
        _fits(inner, shape.blocks[inner.name])


def _refers(block: Block, found: Mapping[str, Block]) -> None:
    for value in block.attributes.values():
        for one in references(value):
            component, _, export = one.path.rpartition(".")
            if component not in found or export not in _EXPORTS:
                raise Invalid(block.line, f"component {component!r} does not exist or is out of scope")
    for inner in block.blocks:
        _refers(inner, found)


def references(value: object) -> list[Reference]:
    """The references inside of a value."""
    if isinstance(value, Reference):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for part in parts for found in references(part)]
