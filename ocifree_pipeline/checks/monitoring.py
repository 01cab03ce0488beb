"""Checks of the group monitoring: what arrives is asked of Grafana Cloud, and limits are read, never assumed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.errors import AuthFailed, Forbidden, OcifreeError, Refused, Throttled, Transient
from ocifree_pipeline.deployment.telemetry.budget import FREE_LOGS_GB, FREE_SERIES, month_forecast_gb
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.monitoring import (
    ALLOY,
    NAMESPACE,
    AlloyFacts,
    data_token,
    grafana,
    now,
    rendered,
    stores,
)

if TYPE_CHECKING:
    from ocifree_pipeline.systems.grafana.stores import Stores

DEADLINE_SECONDS = 360.0
PAUSE_SECONDS = 10.0


def metrics_arrive(step: Step) -> Verdict:
    """First a sample of ours that nobody else can have, then what every agent sends with this configuration."""
    facts = step.facts(ALLOY, AlloyFacts)
    cluster = step.blueprint.declaration.name
    run = uuid.uuid4().hex
    selector = f'alloy_build_info{{cluster="{cluster}",config="{facts.config}"}}'
    wanted = facts.nodes + 1
    try:
        doors = stores(step)
        _probe(doors, cluster, run)
        found = _until(lambda: len(doors.query(f'ocifree_arrival{{run="{run}"}}')), 1)
        if not found:
            return Verdict(False, "a sample was taken and is not found again: is it the same stack?")
        agents = _until(lambda: len(doors.query(selector)), wanted)
        targets = doors.query(f'count by (job) (up{{cluster="{cluster}"}} == 0)')
    except OcifreeError as error:
        return Verdict(False, _words(error))
    numbers = {"agents that send": agents, "agents wanted": wanted}
    if agents < wanted:
        return Verdict(
            False,
            f"{agents} of {wanted} agents send with the configuration {facts.config}; our own sample arrives, so the "
            f"stores are well: kubectl --namespace {NAMESPACE} get pods",
            numbers,
        )
    down = {row.labels.get("job", ""): int(row.value) for row in targets}
    silent = ", ".join(f"{count} of {job}" for job, count in sorted(down.items()))
    return Verdict(
        True,
        f"{agents} agents send with the configuration {facts.config}" + (f"; silent targets: {silent}" if down else ""),
        numbers | {"silent targets": sum(down.values())},
    )


def data_arrives(step: Step) -> Verdict:
    """What dashboards and rules ask for is there. An exporter that renames a metric leaves a hole that nobody sees."""
    from ocifree_pipeline.deployment.telemetry.asked import asked

    cluster = step.blueprint.declaration.name
    try:
        made = rendered(step, data_token(step))
        rows = stores(step).query(f'count by (__name__) ({{cluster="{cluster}"}})')
    except OcifreeError as error:
        return Verdict(False, _words(error))
    wanted = asked(step.blueprint, made.agents.jobs)
    absent = wanted.keys() - {row.labels.get("__name__", "") for row in rows}
    numbers = {"metrics asked for": len(wanted), "metrics absent": len(absent)}
    if not absent:
        return Verdict(True, f"all {len(wanted)} metrics that dashboards and rules ask for arrive", numbers)
    holes = "; ".join(f"{metric}, for {', '.join(wanted[metric])}" for metric in sorted(absent))
    return Verdict(
        False, f"asked for and absent: {holes}. Has an exporter renamed it, or does it not run?", numbers, warn=True
    )


def logs_arrive(step: Step) -> Verdict:
    """First a line of ours that nobody else can have, then lines that every node has written since."""
    facts = step.facts(ALLOY, AlloyFacts)
    cluster = step.blueprint.declaration.name
    run = uuid.uuid4().hex
    pods = f'{{cluster="{cluster}",job="pods"}}'
    try:
        doors = stores(step)
        began = now()
        doors.tell({"job": "ocifree-arrival", "cluster": cluster, "run": run}, "does this arrive?", began)
        ours = f'{{job="ocifree-arrival",run="{run}"}}'
        if not _until(lambda: len(doors.lines(ours, began - 60, now() + 60)), 1):
            return Verdict(False, "a line was taken and is not found again: is it the same stack?")
        nodes = _until(lambda: doors.streams(pods, "node", began, now() + 60), facts.nodes)
    except OcifreeError as error:
        return Verdict(False, _words(error))
    numbers = {"nodes with new lines": nodes, "nodes wanted": facts.nodes}
    if nodes < facts.nodes:
        return Verdict(
            False,
            f"{nodes} of {facts.nodes} nodes have sent lines of their pods within {DEADLINE_SECONDS:.0f} s; our own "
            f"line arrives, so the store is well: kubectl --namespace {NAMESPACE} get pods",
            numbers,
        )
    return Verdict(True, f"new lines of the pods of {nodes} nodes", numbers)


def traces_arrive(step: Step) -> Verdict:
    """A trace of ours that nobody else can have. How many the agents keep is chance: few of theirs fail or are slow."""
    cluster = step.blueprint.declaration.name
    run = uuid.uuid4().hex
    try:
        doors = stores(step)
        if doors.traces is None:
            return Verdict(True, "no traces are sent: monitoring.grafana_cloud.tempo is not declared")
        doors.trace({"service.name": "ocifree-arrival", "cluster": cluster, "run": run}, now())
        if not _until(lambda: len(doors.traces_with({"run": run}, now() - 600, now() + 60)), 1):
            return Verdict(False, "a trace was taken and is not found again: is it the same stack?")
        theirs = len(doors.traces_with({"cluster": cluster, "service.name": "alloy"}, now() - 3600, now() + 60))
    except OcifreeError as error:
        return Verdict(False, _words(error))
    return Verdict(True, f"our own trace is found, and {theirs} of the agents", {"traces of agents": theirs})


def series_budget(step: Step) -> Verdict:
    """As Grafana Cloud counts them; without access to that, as the store answers."""
    from ocifree_pipeline.systems.grafana.stores import usage

    declaration = step.blueprint.declaration
    budget = declaration.monitoring.series_budget
    try:
        door = grafana(step)
        if door is not None:
            rows = usage(door, "max(grafanacloud_instance_active_series)")
        else:
            rows = stores(step).query(f'count({{cluster="{declaration.name}"}})')
    except OcifreeError as error:
        return Verdict(False, _words(error))
    if not rows:
        return Verdict(False, "nobody has counted any series yet; the numbers of the plan lag some minutes", warn=True)
    active = int(rows[0].value)
    numbers = {"active series": active, "budget": budget, "free": FREE_SERIES}
    return Verdict(active <= budget, f"{active} active series of {budget}; {FREE_SERIES} are free", numbers)


def logs_budget(step: Step) -> Verdict:
    """What a month at the present rate comes to."""
    from ocifree_pipeline.systems.grafana.stores import usage

    declaration = step.blueprint.declaration
    budget = declaration.monitoring.logs_budget_gb
    try:
        door = grafana(step)
        if door is not None:
            rows = usage(door, "sum(grafanacloud_logs_instance_bytes_received_per_second)")
        else:
            sent = f'sum(rate(loki_write_sent_bytes_total{{cluster="{declaration.name}"}}[15m]))'
            rows = stores(step).query(sent)
    except OcifreeError as error:
        return Verdict(False, _words(error))
    if not rows:
        return Verdict(False, "nobody has counted any logs yet; the numbers of the plan lag some minutes", warn=True)
    month = month_forecast_gb(rows[0].value)
    numbers = {"GB of logs a month": round(month, 3), "budget GB": budget, "free GB": FREE_LOGS_GB}
    return Verdict(month <= budget, f"{month:.2f} GB of logs a month at this rate, of {budget}", numbers)


# how it is asked ------------------------------------------------------------------------------------------------------


def _probe(doors: Stores, cluster: str, run: str) -> None:
    """A sample that is refused says why: the token, the series limit, or the rate."""
    from ocifree_pipeline.systems.grafana.remote_write import Sample, send

    send(doors.metrics, [Sample("ocifree_arrival", 1.0, {"cluster": cluster, "run": run})], now())


def _until(read: Callable[[], int], wanted: int) -> int:
    """What was read last: enough, or what there was at the deadline."""
    left = DEADLINE_SECONDS
    while True:
        found = read()
        if found >= wanted or left <= 0:
            return found
        time.sleep(PAUSE_SECONDS)
        left -= PAUSE_SECONDS


def _words(error: OcifreeError) -> str:
    """Four failures that need four different remedies."""
    kinds: tuple[tuple[type[OcifreeError], str], ...] = (
        (AuthFailed, "the token is not accepted"),
        (Forbidden, "the token lacks a scope"),
        (Throttled, "a limit of the free plan is reached"),
        (Transient, "no answer"),
        (Refused, "refused"),
    )
    what = next((words for kind, words in kinds if isinstance(error, kind)), "not proven")
    return f"{what}: {error.what}: {error.why}. {error.fix}"
