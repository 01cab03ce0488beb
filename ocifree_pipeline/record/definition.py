"""Define assets and checks that all run, record and fail in the same way."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import OcifreeError, PreconditionMissing, Reaction, reaction_to
from ocifree_pipeline.record.facts import SomeFacts, find_facts, materialize_command, read_facts
from ocifree_pipeline.record.history import require_own_history
from ocifree_pipeline.record.outcome import Facts, Outcome, Scalar, as_table

OWNERS = ["team:ocifree"]
RETRIES = 2
RETRY_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Step:
    """What the body of an asset or a check gets: the blueprint, a log, and the facts of its upstreams."""

    blueprint: Blueprint
    key: str
    instance: dg.DagsterInstance
    say: Callable[[str], None]

    def facts(self, key: str, kind: type[SomeFacts]) -> SomeFacts:
        return read_facts(self.instance, key, kind)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a check."""

    passed: bool
    summary: str
    numbers: Mapping[str, float] | None = None
    evidence: tuple[Mapping[str, Scalar], ...] = ()
    warn: bool = False


Body = Callable[[Step], Outcome]
Judge = Callable[[Step], Verdict]


def define_asset(
    blueprint: Blueprint,
    key: str,
    body: Body,
    *,
    group: str,
    kinds: Iterable[str],
    describe: str,
    deps: Iterable[str] = (),
) -> dg.AssetsDefinition:
    @dg.asset(
        key=key.split("/"),
        deps=[dep.split("/") for dep in deps],
        group_name=group,
        kinds=set(kinds),
        owners=OWNERS,
        description=describe,
        tags={"ocifree/deployment": blueprint.declaration.name, "ocifree/topology": blueprint.plan.topology},
    )
    def run(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        started = time.monotonic()
        try:
            _require_home(blueprint)
            step = Step(blueprint, key, context.instance, context.log.info)
            outcome = body(step)
        except OcifreeError as error:
            raise _as_dagster(context, key, error) from error
        context.log.info(outcome.summary)
        return dg.MaterializeResult(
            metadata={**outcome.as_metadata(time.monotonic() - started), "attempt": context.retry_number + 1},
            data_version=dg.DataVersion(outcome.facts.version()),
        )

    return run


def define_check(
    blueprint: Blueprint,
    asset: str,
    name: str,
    judge: Judge,
    *,
    describe: str,
    blocking: bool = False,
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset.split("/"), name=name, description=describe, blocking=blocking)
    def run(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        try:
            verdict = judge(Step(blueprint, asset, context.instance, context.log.info))
        except OcifreeError as error:
            raise _as_dagster(context, asset, error) from error
        metadata: dict[str, Any] = {"summary": verdict.summary, **(verdict.numbers or {})}
        if verdict.evidence:
            metadata["evidence"] = as_table(verdict.evidence)
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.WARN if verdict.warn else dg.AssetCheckSeverity.ERROR,
            description=verdict.summary,
            metadata=metadata,
        )

    return run


def record_anew(step: Step, key: str, facts: Facts, said: str) -> None:
    """An operation has read back what `key` tells from now on. Nothing new is not written down."""
    if find_facts(step.instance, key, type(facts)) == facts:
        return
    step.instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key.split("/"),
            metadata=Outcome(summary=said, facts=facts).as_metadata(0.0),
            tags={"dagster/data_version": facts.version()},
        )
    )


def _require_home(blueprint: Blueprint) -> None:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise PreconditionMissing(
            "DAGSTER_HOME is not set",
            why="without it Dagster keeps this run in a folder that it throws away, and no later run can see it",
            fix='eval "$(ocifree env)", or use `ocifree up`, which sets it',
        )
    require_own_history(blueprint.declaration.name, Path(home))


def _as_dagster(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, key: str, error: OcifreeError
) -> dg.Failure | dg.RetryRequested:
    """Retry what may pass; fail the rest, and keep run-level retries away from what will not change."""
    reaction = reaction_to(error)
    if reaction is Reaction.RETRY and context.op_execution_context.retry_number < RETRIES:
        context.log.warning(f"{error.what}; trying again in {RETRY_SECONDS} s")
        return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS)
    if reaction is not Reaction.RETRY:
        context.instance.add_run_tags(context.run.run_id, {"dagster/retry_on_asset_or_op_failure": "false"})
    return as_failure(error, materialize_command(key + "+"))


def as_failure(error: OcifreeError, again: str) -> dg.Failure:
    """The error as Dagster shows it, each part by itself; `again` is the command that tries it anew."""
    return dg.Failure(
        description=str(error),
        metadata={
            "error": type(error).__name__,
            "what": error.what,
            "why": error.why,
            "fix": error.fix,
            "reaction": reaction_to(error).value,
            "again": again,
        },
        allow_retries=False,
    )
