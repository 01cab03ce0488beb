"""What Proxmox and Ceph need so that they can be watched: a token that may look, and a module that shows metrics."""

from __future__ import annotations

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.proxmox.access import USER, make_token
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.secrets.vault import Vault

TOKEN = "monitoring"  # noqa: S105 - its name
ROLE = "PVEAuditor"
VAULT_NAME = "proxmox/monitoring_token"
MODULE = "prometheus"


def auditor(node: Node, vault: Vault) -> tuple[dict[str, SecretStr], list[str]]:
    """The variables of the exporter, and what had to be done. The token may look at everything and change nothing."""
    lines = []
    there = any(one["tokenid"] == TOKEN for one in node.ask(f"/access/users/{USER}/token"))
    if not there or VAULT_NAME not in vault.names():
        make_token(node, vault, TOKEN, VAULT_NAME)
        lines.append(f"make the token {USER}!{TOKEN}")
    if not _has_role(node):
        given = node.run(["pveum", "acl", "modify", "/", "--tokens", f"{USER}!{TOKEN}", "--roles", ROLE])
        given.checked(f"give {USER}!{TOKEN} its role")
        lines.append(f"give {USER}!{TOKEN} the role {ROLE}")
        if not _has_role(node):
            raise NotVerified(
                f"{USER}!{TOKEN} was given the role {ROLE}, and reading it back disagrees",
                why="the access list does not name it",
                fix=f"look at {node.name}: pveum acl list",
            )
    settings = {"PVE_USER": USER, "PVE_TOKEN_NAME": TOKEN, "PVE_VERIFY_SSL": "true"}
    return {
        **{name: SecretStr(text) for name, text in settings.items()},
        "PVE_TOKEN_VALUE": vault.get(VAULT_NAME),
    }, lines


def _has_role(node: Node) -> bool:
    full = f"{USER}!{TOKEN}"
    return any(one["ugid"] == full and one["roleid"] == ROLE and one["path"] == "/" for one in node.ask("/access/acl"))


def show_ceph(node: Node, interval: int) -> list[str]:
    """Ceph's manager shows metrics at port 9283, worked out no oftener than they are read."""
    lines = []
    if MODULE not in _enabled(node):
        node.run(["ceph", "mgr", "module", "enable", MODULE]).checked(f"enable the module {MODULE} of Ceph's manager")
        lines.append(f"enable the module {MODULE} of Ceph's manager")
        if MODULE not in _enabled(node):
            raise NotVerified(
                f"the module {MODULE} of Ceph's manager was enabled, and reading it back disagrees",
                why="the list of modules does not name it",
                fix=f"look at {node.name}: ceph mgr module ls",
            )
    setting = ["mgr", "mgr/prometheus/scrape_interval"]
    told = node.run(["ceph", "config", "get", *setting]).checked("read how often Ceph works out its metrics")
    if told.strip().partition(".")[0] != str(interval):
        node.run(["ceph", "config", "set", *setting, str(interval)]).checked("set how often Ceph works out its metrics")
        lines.append(f"work out Ceph's metrics every {interval} s")
    return lines


def _enabled(node: Node) -> list[str]:
    told = node.run(["ceph", "mgr", "module", "ls", "--format", "json"])
    found = node.parsed(told, "list the modules of Ceph's manager")
    return [*found["enabled_modules"], *found.get("always_on_modules", ())]
