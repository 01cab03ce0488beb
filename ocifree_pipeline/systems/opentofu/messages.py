"""What tofu says while it works (JSON lines): progress in words, and diagnostics as the project's errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    OcifreeError,
    PreconditionMissing,
    Reaction,
    Refused,
    Transient,
    reaction_to,
)
from ocifree_pipeline.systems.oci.errors import translate

_ORACLE_SAID = re.compile(r"\b([45]\d\d)-(\w+)[,.]\s*([^\n]*)")
_REQUEST = re.compile(r"OPC request ID:\s*(\S+)", re.IGNORECASE)
_CAPACITY = re.compile(r"out of (host )?capacity", re.IGNORECASE)

_STRENGTH = (Reaction.STOP, Reaction.ASK, Reaction.WAIT, Reaction.RETRY)

_WORDS = {"create": "make", "update": "change", "delete": "delete", "read": "read"}


@dataclass(frozen=True, slots=True)
class _Row:
    """First match wins."""

    pattern: str
    kind: type[OcifreeError]
    why: str
    fix: str


_ROWS = (
    _Row(r"Instance cannot be destroyed|prevent_destroy", CannotChange,
         "the declaration no longer has it, or wants it otherwise than it was made, and it would not come back",
         "put it back into the declaration; if nothing needs it, delete it at Oracle, and the next plan forgets it"),
    _Row(r"acquiring the state lock|state lock", Conflict,
         "another run works on the same state, or one that died has left its lock in the store",
         "wait for the other run; if there is none, remove the lock that is named from the store"),
    _Row(r"decrypt|message authentication failed|encrypted and can ?not be read|unencrypted payload", Refused,
         "the passphrase of the state is not the one that it was written with",
         "put the vault back from your backup, or set `foundation.state.passphrase`; a state that is lost for good may "
         "be moved away: everything is found again by its tags"),
    _Row(r"Failed to query available provider packages|Failed to install provider|Required plugins are not installed|"
         r"Inconsistent dependency lock file|no available releases match", PreconditionMissing,
         "the provider oracle/oci is not here and could not be fetched",
         "look at the network, or name a mirror in the file of TF_CLI_CONFIG_FILE (provider_installation)"),
    _Row(r"did not find a proper configuration|can not create client|bad configuration|NotAuthenticated", AuthFailed,
         "the provider found no usable key", "`ocifree doctor` checks each part of the key"),
    _Row(r"Operation Timeout|timeout while waiting for state", Transient,
         "Oracle took the request and has not finished it in time", "materialize the asset again; it looks first"),
    _Row(r"dial tcp|i/o timeout|connection (refused|reset)|TLS handshake|no such host|unexpected EOF|proxyconnect|"
         r"Client\.Timeout|deadline exceeded",
         Transient, "the connection failed", "`ocifree doctor` tests the connection"),
    _Row(r"timeout while waiting for plugin|failed to instantiate provider|plugin did not respond|plugin exited",
         Transient, "the provider did not start in time, or died", "materialize the asset again; if it repeats, this "
         "computer has too little memory for it: it takes about 1 GB"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer of Oracle's, as the SDK would have raised it."""

    status: int
    code: str
    message: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    summary: str
    detail: str
    address: str

    @property
    def text(self) -> str:
        return f"{self.summary}\n{self.detail}".strip()


@dataclass(slots=True)
class Listener:
    """Hears one run. `errors` and `noise` (what was not JSON) tell afterwards what was wrong."""

    say: Callable[[str], None]
    errors: list[Diagnostic] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        message = _parsed(line)
        if message is None:
            if line.strip():
                self.noise.append(line.strip())
            return
        if message.get("type") == "diagnostic":
            self._note(_mapping(message.get("diagnostic")))
        words = progress(message)
        if words:
            self.say(words)

    def _note(self, diagnostic: Mapping[str, Any]) -> None:
        found = Diagnostic(
            str(diagnostic.get("summary") or ""),
            str(diagnostic.get("detail") or ""),
            str(diagnostic.get("address") or ""),
        )
        if diagnostic.get("severity") == "error":
            self.errors.append(found)
        else:
            self.say(f"tofu warns: {found.summary}")


def progress(message: Mapping[str, Any]) -> str | None:
    """The line for a person, if the message is one that a person wants to see."""
    hook = _mapping(message.get("hook"))
    address = _mapping(hook.get("resource")).get("addr", "something")
    word = _WORDS.get(str(hook.get("action")), str(hook.get("action")))
    seconds = hook.get("elapsed_seconds", 0)
    said = {
        "apply_start": f"{word} {address}",
        "apply_progress": f"{word} {address}: still at it after {seconds} s",
        "apply_complete": f"{word} {address}: done in {seconds} s",
        "apply_errored": f"{word} {address}: failed after {seconds} s",
    }
    return said.get(str(message.get("type")))


def error_of(doing: str, diagnostics: Sequence[Diagnostic], otherwise: Sequence[str]) -> OcifreeError:
    """The error for a run that failed.

    Resources are made side by side, so which of them fails first is a matter of luck. What no repetition mends decides,
    and among those what has a name of its own; then what Oracle itself said, and what comes first by its address.
    `otherwise` is what the program said besides, for one that died without a diagnostic.
    """
    if not diagnostics:
        said = "; ".join(line.strip(" │╷╵") for line in otherwise if line.strip(" │╷╵"))
        diagnostics = [Diagnostic(said or "it ended without a word", "", "")]
        by_text = _by_row(doing, diagnostics[0], diagnostics)
        return by_text or Refused(
            f"{doing}: tofu failed without a diagnostic",
            why=diagnostics[0].summary[-1000:],
            fix="materialize the asset again; what was made is found again by its tags",
        )
    diagnostics = sorted(diagnostics, key=lambda one: (one.address, one.text))
    by_oracle = {one: error for one in diagnostics if (error := _by_oracle(doing, one))}
    others = [one for one in diagnostics if one not in by_oracle]
    known = [*by_oracle.values(), *(error for one in others if (error := _by_row(doing, one, diagnostics)))]
    if known:
        return min(known, key=lambda error: (_STRENGTH.index(reaction_to(error)), type(error) is Refused))
    first = diagnostics[0]
    return Refused(
        f"{doing}: {_told(diagnostics)}",
        why=first.detail.strip() or "OpenTofu says no more",
        fix="this is a fault of ocifree or of the provider; please report it",
    )


def _by_oracle(doing: str, first: Diagnostic) -> OcifreeError | None:
    request = _REQUEST.search(first.text)
    request_id = request[1] if request else None
    where = f"{doing} ({first.address})" if first.address else doing
    if _CAPACITY.search(first.text):  # with whatever status; it may also come late, in the work request, without one
        return translate(_Said(500, "InternalError", "Out of host capacity.", request_id), where)
    answer = _ORACLE_SAID.search(first.text)
    if answer:
        return translate(_Said(int(answer[1]), answer[2], answer[3], request_id), where)
    return None


def _by_row(doing: str, first: Diagnostic, diagnostics: Sequence[Diagnostic]) -> OcifreeError | None:
    for row in _ROWS:
        if re.search(row.pattern, first.text, re.IGNORECASE):
            return row.kind(f"{doing}: {_told(diagnostics)}", why=row.why, fix=row.fix)
    return None


def _told(diagnostics: Sequence[Diagnostic]) -> str:
    """Every summary, with the line of the detail that names the resource."""
    return "; ".join(
        dict.fromkeys(
            " ".join(
                part for part in (one.address, one.summary.splitlines()[0] if one.summary else "", _named(one)) if part
            )
            for one in diagnostics
        )
    )[:1500]


def _named(diagnostic: Diagnostic) -> str:
    found = re.search(r"\boci_\w+\.\w+(?:\[[^\]]*\])?", diagnostic.detail)
    return f"({found[0]})" if found and found[0] != diagnostic.address else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
