"""A job that changes what stands: the typed name, a quiet deployment, then its body, and its errors as they are."""

from collections.abc import Callable

import dagster as dg

from ocifree_pipeline.automation.destroy import require_quiet
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NeedsConfirmation, OcifreeError
from ocifree_pipeline.record.definition import Step, as_failure

Body = Callable[[Step], str]
"""What it did, in one line."""


def op_of(name: str) -> str:
    return f"{name}_step_by_step"


def operation_job(
    blueprint: Blueprint, name: str, body: Body, *, key: str, describe: str, again: str, risk: str | None
) -> dg.JobDefinition:
    """`key` is the asset that it is about, `again` the command that goes on. Without a risk nothing is confirmed."""
    confirm = dg.Field(str, description="The name of the deployment, typed by a person.")

    @dg.op(name=op_of(name), config_schema={"confirm": confirm} if risk else None)
    def operate(context: dg.OpExecutionContext) -> None:
        try:
            if risk:
                _require_name(context.op_config["confirm"], blueprint, name, risk, again)
            require_quiet(context.instance, context.run_id, why="both would change the same machines", again=again)
            context.log.info(body(Step(blueprint, key, context.instance, context.log.info)))
        except OcifreeError as error:
            raise as_failure(error, again) from error

    @dg.job(
        name=name,
        description=describe,
        tags={
            "ocifree/deployment": blueprint.declaration.name,
            "dagster/retry_on_asset_or_op_failure": "false",
            "dagster/max_retries": "0",
        },
    )
    def operation() -> None:
        operate()

    return operation


def _require_name(typed: str, blueprint: Blueprint, name: str, risk: str, again: str) -> None:
    wanted = blueprint.declaration.name
    if typed != wanted:
        typing = f"ops: {{{op_of(name)}: {{config: {{confirm: {wanted}}}}}}}"
        raise NeedsConfirmation(
            f"the name that was typed is not the name of this deployment, {wanted}",
            why=risk,
            fix=f"{again}, or this job with the configuration: {typing}",
        )
