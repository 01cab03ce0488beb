"""`notify`: who is told when a run fails or capacity is found."""

from __future__ import annotations

import re
from typing import Annotated

from ocifree_pipeline.deployment import secret_reference
from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.secret_literals import masked
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.deployment.sections.section import ReadBy

# Apprise addresses that reach this computer only and so carry no token.
_LOCAL_PATTERN = r"(dbus|glib|gnome|kde|macosx|qt|syslog|windows)://[A-Za-z0-9/?=&_.-]*"


def _read_target(value: object) -> SecretRef | str:
    if isinstance(value, SecretRef):
        return value
    if isinstance(value, str):
        reference = SecretRef.parse(value)
        if reference is not None:
            return reference
        if re.fullmatch(_LOCAL_PATTERN, value):
            return value
        if "://" in value:
            raise refuse(
                Objection(
                    "an Apprise address carries a token or password, so it is kept as a secret",
                    f"write a reference to the whole address: {secret_reference.FORMS}",
                    value=masked(value),
                )
            )
    raise refuse(secret_reference.objection_to(value))


Target = Annotated[
    SecretRef | str,
    ReadBy(
        _read_target,
        {
            "type": "string",
            "pattern": f"{secret_reference.PATTERN_OR_NAME}|^{_LOCAL_PATTERN}$",
            "format": "secret-reference-or-local-address",
        },
    ),
]
