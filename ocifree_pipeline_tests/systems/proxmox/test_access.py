"""The secrets of tokens: what the vault holds is what Proxmox takes, wherever a process died."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.systems.grafana import below
from ocifree_pipeline.systems.proxmox import access
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline.systems.ssh.dialer import Result

KEPT = {access.TOKEN: "proxmox/token", below.TOKEN: below.VAULT_NAME}


class Died(BaseException):
    """Between a command and what was to follow it."""


@dataclass
class Users:
    """What pveum changes, as one node tells of it."""

    roles: dict[str, str] = field(default_factory=dict)
    users: set[str] = field(default_factory=lambda: {access.USER})
    tokens: dict[str, str] = field(default_factory=dict)
    granted: set[tuple[str, str]] = field(default_factory=set)
    numbers: Any = field(default_factory=itertools.count)
    dies_after: str = ""

    def run(self, argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
        said = self.read(argv[2]) if argv[0] == "pvesh" else self.change(list(argv[1:]))
        if self.dies_after and self.dies_after in " ".join(argv):
            self.dies_after = ""
            raise Died
        return Result(0, json.dumps(said), "")

    def read(self, path: str) -> Any:
        return {
            "/access/roles": [{"roleid": name, "privs": privs} for name, privs in self.roles.items()],
            "/access/users": [{"userid": name} for name in self.users],
            f"/access/users/{access.USER}/token": [{"tokenid": name} for name in self.tokens],
            "/access/acl": [{"path": "/", "ugid": who, "roleid": role} for who, role in self.granted],
        }[path]

    def change(self, words: list[str]) -> Any:
        match words:
            case ["role", _, name, "--privs", privs]:
                self.roles[name] = privs
            case ["user", "token", "add", _, name, *_]:
                assert name not in self.tokens
                self.tokens[name] = f"secret-{next(self.numbers)}"
                return {"value": self.tokens[name]}
            case ["user", "token", "remove", _, name]:
                del self.tokens[name]
            case ["acl", "modify", "/", _, who, "--roles", role]:
                self.granted.add((who, role))
            case _:
                raise AssertionError(words)
        return None


def _pipeline(node: Node, vault: Vault) -> None:
    access.establish(node, vault, KEPT[access.TOKEN])


def _monitoring(node: Node, vault: Vault) -> None:
    below.auditor(node, vault)


@pytest.mark.parametrize(("name", "make"), [(access.TOKEN, _pipeline), (below.TOKEN, _monitoring)])
def test_a_token_that_a_join_has_wiped_is_made_again_even_if_the_process_dies(
    tmp_path: Path, name: str, make: Callable[[Node, Vault], None]
) -> None:
    users, vault = Users(), Vault(tmp_path / "lab.age", tmp_path / "identity.txt")
    node = Node("ampere_1", "lab-ampere-1", "10.0.1.11", users.run)
    make(node, vault)
    assert vault.get(KEPT[name]).get_secret_value() == users.tokens[name]
    users.tokens.clear()
    users.dies_after = "token add"
    with pytest.raises(Died):
        make(node, vault)
    make(node, vault)
    assert vault.get(KEPT[name]).get_secret_value() == users.tokens[name]
    kept = users.tokens[name]
    make(node, vault)
    assert users.tokens[name] == kept, "the second time nothing changes"


def test_a_secret_that_proxmox_does_not_know_is_replaced(tmp_path: Path) -> None:
    """Somebody has made the token anew by hand, and with it another secret."""
    users, vault = Users(), Vault(tmp_path / "lab.age", tmp_path / "identity.txt")
    node = Node("ampere_1", "lab-ampere-1", "10.0.1.11", users.run)
    _pipeline(node, vault)
    users.tokens[access.TOKEN] = "of-somebody"
    token, lines = access.establish(node, vault, KEPT[access.TOKEN], renew=True)
    assert token.secret.get_secret_value() == users.tokens[access.TOKEN] != "of-somebody"
    assert lines == ["make the token ocifree@pve!pipeline", "give ocifree@pve!pipeline the role OcifreePipeline"]
