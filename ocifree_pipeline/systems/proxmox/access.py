"""The pipeline's token: a role of its own with few rights, a user without a password, a secret that is shown once.

A join wipes users and tokens of the node that joins, so this comes after all joins.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.proxmox.api import Token
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.secrets.vault import Vault

ROLE = "OcifreePipeline"
USER = "ocifree@pve"
TOKEN = "pipeline"  # noqa: S105 - its name
PRIVILEGES = (
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.GuestAgent.Audit",
    "VM.Migrate",
    "VM.PowerMgmt",
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What of it there is."""

    role: frozenset[str] | None
    user: bool
    token: bool
    granted: frozenset[str]


def standing(node: Node) -> Standing:
    role = next((one for one in node.ask("/access/roles") if one["roleid"] == ROLE), None)
    users = {str(one["userid"]) for one in node.ask("/access/users")}
    tokens = node.ask(f"/access/users/{USER}/token") if USER in users else []
    return Standing(
        role=frozenset(str(role.get("privs", "")).split(",")) if role else None,
        user=USER in users,
        token=any(one["tokenid"] == TOKEN for one in tokens),
        granted=frozenset(
            str(one["ugid"]) for one in node.ask("/access/acl") if one["path"] == "/" and one["roleid"] == ROLE
        ),
    )


def establish(node: Node, vault: Vault, name: str, *, renew: bool = False) -> tuple[Token, list[str]]:
    """The token, and what had to be done. Its secret is kept in the vault as `name`; one that was lost is replaced.

    `renew`: the secret that is kept is not that of the token.
    """
    there, lines = standing(node), []
    wanted = ",".join(PRIVILEGES)
    if there.role != frozenset(PRIVILEGES):
        verb = "modify" if there.role is not None else "add"
        _do(node, f"{verb} the role {ROLE}", "role", verb, ROLE, "--privs", wanted)
        lines.append(f"{verb} the role {ROLE} with {len(PRIVILEGES)} privileges")
    if not there.user:
        _do(node, f"add the user {USER}", "user", "add", USER, "--comment", "ocifree: no password, a token only")
        lines.append(f"add the user {USER}")
    has_token = there.token and name in vault.names() and not renew
    if not has_token:
        make_token(node, vault, TOKEN, name)
        lines.append(f"make the token {USER}!{TOKEN}")
    full = f"{USER}!{TOKEN}"
    for subject, option in ((USER, "--users"), (full, "--tokens")):
        if subject not in there.granted or (subject == full and not has_token):
            _do(node, f"give {subject} its role", "acl", "modify", "/", option, subject, "--roles", ROLE)
            lines.append(f"give {subject} the role {ROLE}")
    _is_so(node)
    return Token(USER, TOKEN, vault.get(name)), lines


def make_token(node: Node, vault: Vault, token: str, name: str) -> None:
    """Anew. Until its secret is kept the vault has none, so that whoever comes after a death begins here again."""
    vault.remove(frozenset({name}))
    if any(one["tokenid"] == token for one in node.ask(f"/access/users/{USER}/token")):
        _do(node, "remove the token whose secret is lost", "user", "token", "remove", USER, token)
    made = node.run(["pveum", "user", "token", "add", USER, token, "--privsep", "1", "--output-format", "json"])
    vault.put({name: SecretStr(str(node.parsed(made, f"make the token {USER}!{token}")["value"]))})


def _do(node: Node, doing: str, *words: str) -> None:
    node.run(["pveum", *words]).checked(doing)


def _is_so(node: Node) -> None:
    there = standing(node)
    granted = {USER, f"{USER}!{TOKEN}"} <= there.granted
    if there.role != frozenset(PRIVILEGES) or not (there.user and there.token and granted):
        raise NotVerified(
            "the token of the pipeline is not as it was made",
            why=f"reading it back gives {there}",
            fix=f"look at {node.name}: pveum user list; pveum acl list",
        )
