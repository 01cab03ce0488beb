"""`access`: who may log in, and by which way."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment import ssh_keys
from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.deployment.sections.section import (
    Checked,
    Section,
    Several,
    at_least_one,
    matching,
    without_repeats,
)

PublicKey = Annotated[str, Checked(ssh_keys.objection, {"pattern": f"^(?:{ssh_keys.PATTERN})$"})]


def _not_root(name: str) -> Objection | None:
    if name != "root":
        return None
    return Objection("the images refuse root over SSH", "name an ordinary user; it may use sudo")


UserName = Annotated[
    str,
    matching(
        r"[a-z][a-z0-9_-]{0,30}",
        "not a Linux user name: at most 31 small letters, digits, hyphens and underscores",
        "write a name such as ocifree",
    ),
    Checked(_not_root, {"not": {"const": "root"}}),
]
TailnetTag = Annotated[
    str,
    matching(
        r"tag:[a-zA-Z][a-zA-Z0-9-]*",
        "not a Tailscale tag",
        "write it as the tailnet policy does, such as tag:ocifree",
    ),
]


class TailscaleOauth(Section):
    """An OAuth client of your tailnet, with the scopes auth_keys and devices:core."""

    client_id: SecretRef = Field(description="Reference to the client ID.", examples=["env:TS_CLIENT_ID"])
    client_secret: SecretRef = Field(description="Reference to the client secret.", examples=["env:TS_CLIENT_SECRET"])


class Tailscale(Section):
    """Puts the machines into your tailnet. With `enabled`, write either `oauth` or `auth_key`."""

    enabled: bool = Field(False, description="Whether machines join the tailnet.")
    oauth: TailscaleOauth | None = Field(
        None, description="An OAuth client: makes a fresh key for every machine, and the Kubernetes operator needs it."
    )
    auth_key: SecretRef | None = Field(
        None, description="Reference to a reusable auth key. Such keys expire after 90 days at the latest."
    )
    tags: Annotated[
        Several[TailnetTag], at_least_one("a machine without a tag expires", "write a tag such as tag:ocifree")
    ] = Field(("tag:ocifree",), description="Tags of the machines; the tailnet policy must know them.")

    @model_validator(mode="after")
    def _one_credential(self) -> Tailscale:
        written = [name for name in ("oauth", "auth_key") if getattr(self, name) is not None]
        if len(written) == 2:
            raise refuse(
                Objection(
                    "`oauth` and `auth_key` both say how machines join",
                    "keep `oauth`; the keys it makes do not expire under you",
                    at=("auth_key",),
                    involves=(("oauth",),),
                )
            )
        if self.enabled and not written:
            raise refuse(
                Objection(
                    "machines cannot join a tailnet without a credential",
                    "add `oauth: {client_id: env:TS_CLIENT_ID, client_secret: env:TS_CLIENT_SECRET}` "
                    "or `auth_key: env:TS_AUTHKEY`, or set enabled: false",
                    at=("enabled",),
                    involves=(("oauth",), ("auth_key",)),
                )
            )
        return self


class Access(Section):
    """SSH keys, the way in, and the way out."""

    ssh_public_keys: Annotated[
        Several[PublicKey],
        at_least_one("without a key nobody can log in", "paste the line of your .pub file"),
        without_repeats(),
    ] = Field(
        description="OpenSSH public keys that may log in, one line each: the content of a .pub file.",
        examples=[["ssh-ed25519 AAAA... you@laptop"]],
    )
    ssh_user: UserName = Field("ocifree", description="The user that is made on every machine.")
    via: Literal["auto", "bastion", "tailnet", "direct"] = Field(
        "auto",
        description="How SSH reaches the A1 machines: jump over the `bastion`, through the `tailnet`, or `direct` to "
        "their public addresses. `auto` takes the bastion if there is one, else the tailnet.",
    )
    tailscale: Tailscale = Field(Tailscale(), description="The tailnet.")
    http_proxy: (
        Annotated[
            str,
            matching(
                r"https?://[A-Za-z0-9.-]+:[0-9]{1,5}/?",
                "not the address of a proxy",
                "write scheme, host and port, such as http://proxy.example.org:3128",
            ),
        ]
        | None
    ) = Field(None, description="A proxy for everything this computer sends, if it needs one.")
