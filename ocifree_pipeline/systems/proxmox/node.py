"""A Proxmox node, seen by root over SSH: for what the API gives to root's own login only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.ssh.dialer import COMMAND_SECONDS, Result, Run

PUBLIC, PRIVATE = "0644", "0600"


@dataclass(frozen=True, slots=True)
class Node:
    """`machine` is its name in the plan, `name` the one that Proxmox knows. `run` runs as root."""

    machine: str
    name: str
    address: str
    run: Run

    def ask(self, path: str, *options: str) -> Any:
        """What the API of this node says to root at `path`."""
        printed = self.run(["pvesh", "get", path, *options, "--output-format", "json"])
        return self.parsed(printed, f"ask {self.name} for {path}")

    def parsed(self, result: Result, doing: str) -> Any:
        """The JSON that a command printed."""
        try:
            return json.loads(result.checked(doing))
        except ValueError as error:
            raise NotVerified(
                f"{doing}: the answer is no JSON", why=str(error), fix=f"look at {self.name}: journalctl -u pvedaemon"
            ) from error

    def has(self, path: str) -> bool:
        return self.run(["test", "-e", path]).exit == 0

    def text(self, path: str) -> str:
        return self.run(["cat", path]).checked(f"read {path} of {self.name}")

    def put(self, path: str, content: SecretStr | str, mode: str = PUBLIC) -> None:
        """The file is as it shall be, folders included. The content is never part of the command."""
        given = content if isinstance(content, SecretStr) else SecretStr(content)
        self.run(["install", "-D", "-m", mode, "/dev/stdin", path], given=given).checked(f"write {path} on {self.name}")


def as_root(run: Run) -> Run:
    """The same machine, with `sudo` before every command."""

    def run_as_root(argv: Sequence[str], timeout: float = COMMAND_SECONDS, given: SecretStr | None = None) -> Result:
        return run(["sudo", "-n", "--", *argv], timeout, given)

    return run_as_root
