"""The serial console of an instance: where the guest publishes its host keys, and the last words of one that is stuck.

What is read here came over Oracle's signed API, so a fingerprint from it may be trusted before the first connection.
"""

from __future__ import annotations

import re
import time

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.oci.session import every, reading
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, wait_for

MAX_BYTES = 1_048_576
CAPTURE_SECONDS = 180.0
PUBLISH_SECONDS = 900.0

_BLOCK = re.compile(r"-----BEGIN SSH HOST KEY FINGERPRINTS-----(.*?)-----END SSH HOST KEY FINGERPRINTS-----", re.DOTALL)
_FINGERPRINT = re.compile(r"\b(SHA256:[A-Za-z0-9+/]{43})(?![A-Za-z0-9+/=])")


def fingerprints_in(console: str) -> frozenset[str]:
    """The host keys that cloud-init printed last. An older boot from the same disk may have had others."""
    blocks = _BLOCK.findall(console)
    return frozenset(_FINGERPRINT.findall(blocks[-1])) if blocks else frozenset()


def host_keys(scope: Scope, instance: str, machine: str, *, clock: Clock = time) -> frozenset[str]:
    """The fingerprints that the guest has published, waited for."""

    def read() -> frozenset[str]:
        return fingerprints_in(console_text(scope, instance, machine, clock=clock))

    return wait_for(
        read,
        bool,
        what=f"{machine} has published its host keys on the console",
        timeout=PUBLISH_SECONDS,
        pause=Pause(5, 30),
        clock=clock,
    )


def console_text(scope: Scope, instance: str, machine: str, *, clock: Clock = time) -> str:
    """The latest output of the console. The capture that Oracle makes for it is removed again."""
    from oci.core import models

    client = scope.session.client("core.ComputeClient")
    details = models.CaptureConsoleHistoryDetails(
        instance_id=instance,
        display_name=f"{scope.deployment}-{machine}",
        freeform_tags=scope.tags(f"console_history/{machine}"),
    )
    with told(f"capture the console of {machine}"):
        history = client.capture_console_history(details).data
    try:
        wait_for(
            lambda: _state(scope, history.id),
            lambda state: state == "SUCCEEDED",
            what=f"the console of {machine} was captured",
            failed=lambda state: "Oracle could not capture it" if state == "FAILED" else None,
            timeout=CAPTURE_SECONDS,
            pause=Pause(1, 5),
            clock=clock,
        )
        with told(f"read the console of {machine}"):
            content = client.get_console_history_content(history.id, length=MAX_BYTES, retry_strategy=reading()).data
        return content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
    finally:
        _remove_ours(scope, instance)


def _state(scope: Scope, history: str) -> str:
    with told("read a console capture"):
        found = scope.session.client("core.ComputeClient").get_console_history(history, retry_strategy=reading()).data
    return str(found.lifecycle_state)


def _remove_ours(scope: Scope, instance: str) -> None:
    """Ours of this instance, and those of a run that died. What stays harms nobody, and must not hide why we are
    here."""
    client = scope.session.client("core.ComputeClient")
    try:
        with told("remove console captures"):
            for history in every(client.list_console_histories, scope.inside, instance_id=instance):
                if scope.is_ours(history):
                    client.delete_console_history(history.id)
    except Transient:
        return
