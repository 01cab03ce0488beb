"""tofu in one workspace: commands that stream messages, and commands that answer with text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ocifree_pipeline.systems.opentofu.messages import Listener, error_of
from ocifree_pipeline.systems.opentofu.program import GRACE_SECONDS, QUIET_SECONDS, Program, run
from ocifree_pipeline.systems.opentofu.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Tofu:
    """`secrets` are those in `environ`; no line of a run is looked at before they are taken out of it."""

    program: Program
    workspace: Workspace
    environ: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    say: Callable[[str], None] = field(default=lambda line: None)
    quiet_seconds: float = QUIET_SECONDS
    grace_seconds: float = GRACE_SECONDS

    def hear(self, doing: str, *arguments: str) -> None:
        """A command with -json: progress is said as it comes, diagnostics become the error."""
        listener = Listener(self.say)
        code, last_words = self._run(arguments, listener.hear)
        if code != 0 or listener.errors:
            raise error_of(doing, listener.errors, [*listener.noise, *last_words])

    def read(self, doing: str, *arguments: str) -> str:
        """A command that answers at its end."""
        said: list[str] = []
        code, last_words = self._run(arguments, said.append)
        if code != 0:
            raise error_of(doing, (), last_words or said)
        return "\n".join(said)

    def _run(self, arguments: tuple[str, ...], hear: Callable[[str], None]) -> tuple[int, list[str]]:
        def without_secrets(line: str) -> str:
            for secret in self.secrets:
                line = line.replace(secret, "***")
            return line

        ended = run(
            [self.program.path, *arguments],
            folder=self.workspace.folder,
            environ=self.environ,
            hear=lambda line: hear(without_secrets(line)),
            quiet_seconds=self.quiet_seconds,
            grace_seconds=self.grace_seconds,
        )
        return ended.code, [without_secrets(line) for line in ended.last_words]
