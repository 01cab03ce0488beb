"""What a configuration of Alloy scrapes and where it sends it: each job with the rules of its targets and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ocifree_pipeline.deployment.telemetry import components
from ocifree_pipeline.deployment.telemetry.relabel import Labels, Rule, relabelled, rules_of
from ocifree_pipeline.deployment.telemetry.syntax import Block, Environment, Invalid, Reference, parse

MADE_BY_SCRAPING = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
"""Every scrape of a target adds these, and they pass through the same rules."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where targets come from: written down, or a kind of object in Kubernetes."""

    static: tuple[Mapping[str, str], ...] = ()
    role: str = ""
    labels: str = ""
    fields: str = ""
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sink:
    """A remote_write endpoint."""

    url: str
    user: str
    password: str
    external: Mapping[str, str]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One `prometheus.scrape` with the way of its samples."""

    name: str
    discovery: Discovery
    target_rules: tuple[Rule, ...]
    rules: tuple[Rule, ...]
    sinks: tuple[Sink, ...]
    scheme: str
    path: str
    params: Mapping[str, str]
    honor_labels: bool
    sample_limit: int
    interval: str

    def target(self, discovered: Labels) -> dict[str, str] | None:
        """The labels of a target while it is scraped; None when the rules drop it."""
        given = {"__scheme__": self.scheme, "__metrics_path__": self.path, "job": self.name}
        return relabelled({**given, **discovered}, self.target_rules)

    def series(self, target: Labels, sample: Labels) -> dict[str, str] | None:
        """The labels under which a sample of a target leaves for the sink; None when a rule drops it."""
        return relabelled(self.with_target(target, sample), self.rules)

    def with_target(self, target: Labels, sample: Labels) -> dict[str, str]:
        """Target labels win over those of the sample, unless the job honours the sample's."""
        shown = {name: value for name, value in target.items() if not name.startswith("__")}
        shown.setdefault("instance", target.get("__address__", ""))
        if self.honor_labels:
            return {**shown, **sample}
        moved = {f"exported_{name}" if name in shown else name: value for name, value in sample.items()}
        return {**moved, **shown}


def load(text: str, environ: Environment | None = None) -> dict[str, Block]:
    """The components of a configuration, checked. Invalid if Alloy would not load it."""
    return components.check(parse(text, environ))


def jobs(found: Mapping[str, Block]) -> tuple[Job, ...]:
    return tuple(_job(block, found) for block in found.values() if block.name == "prometheus.scrape")


def shipped(jobs: Iterable[Job]) -> Shipped:
    return Shipped(tuple(jobs))


@dataclass(frozen=True, slots=True)
class Shipped:
    """Which metrics leave the cluster: the answer is asked of the rules that decide it."""

    jobs: tuple[Job, ...]

    def has(self, metric: str, job: str | None = None) -> bool:
        return any(_keeps(one, metric) for one in self.jobs if job in {None, one.name})


@lru_cache(maxsize=4096)
def _keeps_name(pattern: str, metric: str) -> bool:
    return re.fullmatch(pattern, metric) is not None


def _keeps(job: Job, metric: str) -> bool:
    """Only rules that look at the name alone can keep a metric away altogether."""
    for rule in job.rules:
        if rule.source_labels == ("__name__",):
            matches = _keeps_name(rule.regex, metric)
            if (rule.action == "keep" and not matches) or (rule.action == "drop" and matches):
                return False
    return True


def _job(block: Block, found: Mapping[str, Block]) -> Job:
    discovery, target_rules = _targets(block.get("targets"), found)
    rules, sinks = _forwarded(block, found)
    return Job(
        name=str(block.get("job_name", block.ident)),
        discovery=discovery,
        target_rules=target_rules,
        rules=rules,
        sinks=sinks,
        scheme=str(block.get("scheme", "http")),
        path=str(block.get("metrics_path", "/metrics")),
        params={name: ",".join(values) for name, values in block.get("params", {}).items()},
        honor_labels=bool(block.get("honor_labels", False)),
        sample_limit=int(block.get("sample_limit", 0)),
        interval=str(block.get("scrape_interval", "60s")),
    )


def _targets(value: Any, found: Mapping[str, Block]) -> tuple[Discovery, tuple[Rule, ...]]:
    if isinstance(value, list):
        return Discovery(static=tuple(value)), ()
    block = owner(value, found)
    if block.name == "discovery.relabel":
        discovery, before = _targets(block.get("targets"), found)
        return discovery, (*before, *rules_of(block))
    if block.name != "discovery.kubernetes":
        raise Invalid(block.line, f"{block.name} gives no targets")
    selectors, namespaces = block.one("selectors"), block.one("namespaces")
    return (
        Discovery(
            role=str(block.get("role")),
            labels=str(selectors.get("label", "")) if selectors else "",
            fields=str(selectors.get("field", "")) if selectors else "",
            namespaces=tuple(namespaces.get("names", ())) if namespaces else (),
        ),
        (),
    )


def _forwarded(block: Block, found: Mapping[str, Block]) -> tuple[tuple[Rule, ...], tuple[Sink, ...]]:
    """The rules on the way, and where it ends. A way does not fork before its last component here."""
    rules: list[Rule] = []
    following = forwards(block, found)
    while len(following) == 1 and following[0].name == "prometheus.relabel":
        rules += rules_of(following[0])
        following = forwards(following[0], found)
    sinks = tuple(sink for one in following for sink in _sinks(one))
    return tuple(rules), sinks


def _sinks(block: Block) -> Iterator[Sink]:
    if block.name != "prometheus.remote_write":
        raise Invalid(block.line, f"metrics cannot be forwarded to {block.name}")
    for endpoint in block.all("endpoint"):
        login = endpoint.one("basic_auth")
        yield Sink(
            url=str(endpoint.get("url")),
            user=str(login.get("username")) if login else "",
            password=str(login.get("password")) if login else "",
            external=block.get("external_labels", {}),
            rules=tuple(rule for one in endpoint.all("write_relabel_config") for rule in _write_rules(one)),
        )


def _write_rules(block: Block) -> tuple[Rule, ...]:
    return rules_of(Block("", "", {}, (Block("rule", "", block.attributes, (), block.line),), block.line))


def forwards(block: Block, found: Mapping[str, Block]) -> list[Block]:
    """The components that a component forwards to."""
    return [owner(one, found) for one in block.get("forward_to", ())]


def owner(value: Any, found: Mapping[str, Block]) -> Block:
    if not isinstance(value, Reference):
        raise Invalid(0, f"{value!r} is no reference to a component")
    return found[value.path.rpartition(".")[0]]
