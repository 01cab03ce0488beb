"""The OpenTofu engine behind the port of the foundation.

The module is one whole: the asset that comes first applies all of it, and the others find nothing left to do. Pricing
and the refusal to delete therefore always see everything.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import NotVerified, Refused, Transient
from ocifree_pipeline.deployment.foundation import PARTS, FoundationSpec, Part
from ocifree_pipeline.deployment.pricing import Item
from ocifree_pipeline.systems.foundation import Made, PartPlan
from ocifree_pipeline.systems.oci.foundation.desired import wanted_of
from ocifree_pipeline.systems.oci.foundation.engine import SETTLE_SECONDS, Engine
from ocifree_pipeline.systems.oci.waiting import Clock, TimedOut, wait_for
from ocifree_pipeline.systems.opentofu.adoption import Standing, imports_for, what_stands
from ocifree_pipeline.systems.opentofu.planned import Planned, planned_of
from ocifree_pipeline.systems.opentofu.program import find_program
from ocifree_pipeline.systems.opentofu.tofu import Tofu
from ocifree_pipeline.systems.opentofu.variables import variables_of
from ocifree_pipeline.systems.opentofu.workspace import (
    environment,
    module_folder,
    passphrase_of,
    secrets_in,
    workspace_of,
)
from ocifree_pipeline.systems.secrets.vault import vault_of

_OF_A_PLAN = ("-input=false", "-lock-timeout=600s")


@dataclass(frozen=True, slots=True)
class OpenTofuFoundation:
    """One engine, for one deployment. What was planned last is remembered, as pricing asks for it after planning."""

    spec: FoundationSpec
    tenancy: str
    tofu: Tofu
    module: Path
    standing: Callable[[], Standing]
    clock: Clock = time
    _last: list[Planned] = field(default_factory=list, repr=False)
    _prepared: list[bool] = field(default_factory=list, repr=False)

    def items(self, part: Part) -> tuple[Item, ...]:
        """Everything that the module is to make, whichever part is asked for."""
        return (self._last[0] if self._last else self._look()).items

    def plan(self, part: Part) -> PartPlan:
        planned = self._look()
        return PartPlan(part, planned.lines, planned.is_noop, (), planned)

    def apply(self, plan: PartPlan) -> Made:
        shown: Planned = plan.engine
        if shown.is_noop:
            return self._complete(shown.found)
        with self.tofu.workspace.locked(), self._planned() as (file, planned):
            self._require_that_it_was_shown(planned, shown)
            if planned.is_noop:  # another part was faster
                return self._complete(planned.found)
            for line in planned.lines:
                self.tofu.say(line)
            self.tofu.hear("apply the module", "apply", "-json", *_OF_A_PLAN, file)
            self.tofu.workspace.take_over(())
            return self._complete(self._read_back().found)

    # looking --------------------------------------------------------------------------------------------------------

    def _look(self) -> Planned:
        with self.tofu.workspace.locked(), self._planned() as (_, planned):
            self._last[:] = [planned]
            return planned

    @contextmanager
    def _planned(self) -> Iterator[tuple[str, Planned]]:
        """The plan, as a file that lives as long as the block. What stands already is imported, not made again."""
        workspace = self.tofu.workspace
        workspace.lay_out(self.module, variables_of(self.spec, self.tenancy), self.tofu.program.version)
        if not self._prepared:
            # The state only remembers what the tags say, so another store may be begun with at any time.
            self.tofu.read("prepare the module", "init", "-input=false", "-no-color", "-reconfigure")
            self._prepared.append(True)
        file = workspace.folder / f"{uuid.uuid4().hex}.plan"
        try:
            planned = self._plan_into(file)
            if planned.creations:
                imports = imports_for(planned.creations, self.spec, self.standing())
                if imports:
                    workspace.take_over(imports)
                    planned = self._plan_into(file)
            planned.require_nothing_lost()
            yield file.name, planned
        finally:
            file.unlink(missing_ok=True)

    def _plan_into(self, file: Path) -> Planned:
        self.tofu.hear("plan the module", "plan", "-json", *_OF_A_PLAN, f"-out={file.name}")
        said = self.tofu.read("read the plan", "show", "-json", file.name)
        try:
            document = json.loads(said)
        except ValueError as error:
            raise Refused(
                "read the plan: tofu did not answer in JSON",
                why=f"it said {said[:200]!r}",
                fix=f"try it by hand: {self.tofu.program.path} version",
            ) from error
        return planned_of(document)

    # afterwards -----------------------------------------------------------------------------------------------------

    def _read_back(self) -> Planned:
        def look() -> Planned:
            with self._planned() as (_, planned):
                return planned

        try:
            return wait_for(
                look,
                lambda planned: planned.is_noop,
                what="a second plan has nothing left to do",
                timeout=SETTLE_SECONDS,
                clock=self.clock,
            )
        except TimedOut as error:
            raise NotVerified(
                "OpenTofu applied its plan, and a second plan still differs",
                why=error.why,
                fix="somebody else may be changing it at the same time; materialize the asset again",
            ) from error

    def _complete(self, found: Made) -> Made:
        roles = {one.role for part in PARTS for one in wanted_of(self.spec, part)}
        missing = sorted(role for role in roles if role not in found or not found[role].id)
        if missing:
            raise NotVerified(
                f"the module made {', '.join(missing)} and does not say what became of it",
                why="its outputs have nothing of that role",
                fix="materialize the asset again; if it stays so, please report it",
            )
        return found

    def _require_that_it_was_shown(self, planned: Planned, shown: Planned) -> None:
        new = [line for line in planned.lines if line not in shown.lines]
        if new:
            raise Transient(
                f"the plan changed before it was applied: {'; '.join(new)}",
                why="somebody changed something at Oracle meanwhile, and only what was shown is done",
                fix="materialize the asset again; it plans anew",
            )


def opentofu_foundation(
    declaration: Declaration,
    spec: FoundationSpec,
    engine: Engine,
    say: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> OpenTofuFoundation:
    """The engine of the declaration. `engine` looks up what stands; it makes nothing here."""
    program = find_program(environ)
    workspace = workspace_of(declaration.name, declaration.foundation.state, environ)
    vault = vault_of(declaration.name, environ)
    with workspace.locked():
        passphrase = passphrase_of(workspace, vault, environ)
    given = environment(engine.session.config, workspace, passphrase, vault, environ)
    return OpenTofuFoundation(
        spec,
        engine.session.tenancy,
        Tofu(program, workspace, given, secrets_in(given, passphrase), say),
        module_folder(),
        lambda: what_stands(engine, spec),
    )
