"""The job `destroy`: the typed name, the teardown, the proof, and a note in the record of everything that ended."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from ocifree_pipeline.automation.orphans import UNFINISHED, find_orphans
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NeedsConfirmation, OcifreeError, PreconditionMissing
from ocifree_pipeline.record.definition import as_failure
from ocifree_pipeline.record.destroyed import destroyed_since_made, note_destroyed, stage_of
from ocifree_pipeline.record.machines import is_claimed
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.oci.teardown import Stage, Teardown
from ocifree_pipeline.systems.secrets.vault import vault_of

NAME = "destroy"
OP = "destroy_everything"


def destroy_job(blueprint: Blueprint) -> dg.JobDefinition:
    deployment = blueprint.declaration.name

    @dg.op(
        name=OP,
        config_schema={"confirm": dg.Field(str, description="The name of the deployment, typed by a person.")},
    )
    def destroy_everything(context: dg.OpExecutionContext) -> None:
        try:
            _require_name(context.op_config["confirm"], blueprint)
            require_quiet(
                context.instance, context.run_id, why="it may make what is being removed", again="ocifree destroy"
            )
            _destroy(context, blueprint)
        except OcifreeError as error:
            raise as_failure(error, "ocifree destroy") from error

    @dg.job(
        name=NAME,
        description="Remove everything in reverse order, after a typed confirmation, and prove that nothing is left.",
        tags={"ocifree/deployment": deployment, "dagster/retry_on_asset_or_op_failure": "false"},
    )
    def destroy() -> None:
        destroy_everything()

    return destroy


def teardown_of(blueprint: Blueprint) -> Teardown:
    """The teardown of this deployment, with nobody listening yet."""
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = blueprint.declaration
    return Teardown(
        session_for(declaration.site), declaration.name, declaration.compartment, journal_of(declaration.name)
    )


def _require_name(typed: str, blueprint: Blueprint) -> None:
    name, ampere = blueprint.declaration.name, [machine.name for machine in blueprint.plan.ampere]
    if typed != name:
        raise NeedsConfirmation(
            f"the name that was typed is not the name of this deployment, {name}",
            why=f"{', '.join(ampere)} would end, and Oracle may never have capacity for them again",
            fix=f"ocifree destroy, or this job with the configuration: ops: {{{OP}: {{config: {{confirm: {name}}}}}}}",
        )


def require_quiet(instance: dg.DagsterInstance, own_run: str, *, why: str, again: str) -> None:
    """A run that makes things at the same time would make them again behind our back."""
    dead = {orphan.run.run_id for orphan in find_orphans(instance)}
    others = [
        run.run_id[:8]
        for run in instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
        if run.run_id != own_run and run.run_id not in dead
    ]
    if others:
        raise PreconditionMissing(
            f"another run is under way: {', '.join(others)}",
            why=why,
            fix=f"wait for it (`ocifree watch`) or end it in `ocifree ui`; then `{again}` again",
        )


def _destroy(context: dg.OpExecutionContext, blueprint: Blueprint) -> None:
    def ended(stage: Stage) -> None:
        for key in _made_in(context.instance, stage):
            note_destroyed(context.instance, key, f"run {context.run_id[:8]}")

    plain = teardown_of(blueprint)
    replace(plain, say=context.log.info, ended=ended).run()
    name = blueprint.declaration.name
    context.log.info(
        f"nothing of {name} is left, and nothing in its compartment can cost money. What stays on this computer: the "
        f"history, the journal {plain.journal.file}, the vault {vault_of(name).file}, the images"
    )


def _made_in(instance: dg.DagsterInstance, stage: Stage) -> Iterator[str]:
    """What the record still takes for standing, of what ends with this stage."""
    for asset_key in instance.get_asset_keys():
        key = asset_key.to_user_string()
        if stage_of(key) is not stage:
            continue
        made = instance.get_latest_materialization_event(asset_key) is not None
        claimed = key.startswith("machines/") and is_claimed(instance, key.removeprefix("machines/"))
        if claimed or (made and destroyed_since_made(instance, key) is None):
            yield key
