"""Hand a message to Apprise, one target at a time, and say who did not get it. An address is a secret and stays one."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import OcifreeError, PreconditionMissing, Refused
from ocifree_pipeline.deployment.notices import Event
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.systems.notify.rendering import Message
from ocifree_pipeline.systems.secrets.source import resolve
from ocifree_pipeline.systems.secrets.vault import Vault

KINDS = {Event.CAPACITY: "info", Event.CLAIMED: "success", Event.DIGEST: "info", Event.TEST: "info",
         Event.LIMITS: "info", Event.FAILED: "failure", Event.CHARGE: "failure", Event.LOST: "failure"}  # fmt: skip
CONFIRM = "`ocifree notify test` tries it again"


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody to tell. `name` is the reference in the declaration, never the address."""

    name: str
    address: SecretRef | str


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a message: the service that took it, or the error that kept it."""

    target: str
    service: str = ""
    error: OcifreeError | None = None


@dataclass
class _Heard(logging.Handler):
    """What a service answered, as Apprise logs it."""

    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __hash__(self) -> int:
        return id(self)


def targets_of(declared: Sequence[SecretRef | str]) -> tuple[Target, ...]:
    return tuple(Target(str(one), one) for one in declared)


def tell(targets: Sequence[Target], vault: Vault, message: Message, event: Event) -> tuple[Told, ...]:
    return tuple(_tell_one(target, vault, message, event) for target in targets)


def _tell_one(target: Target, vault: Vault, message: Message, event: Event) -> Told:
    try:
        return Told(target.name, service=_send(target, vault, message, event))
    except OcifreeError as error:
        return Told(target.name, error=error)


def _send(target: Target, vault: Vault, message: Message, event: Event) -> str:
    from apprise import Apprise, NotifyFormat, NotifyType

    address = target.address
    url = resolve(address, vault) if isinstance(address, SecretRef) else SecretStr(address)
    with _listening() as heard:
        service = Apprise.instantiate(url.get_secret_value(), suppress_exceptions=True)
        if service is None:
            raise PreconditionMissing(
                f"{target.name} holds no address that Apprise understands",
                why="it names no service that Apprise knows, or a part of the address is missing",
                fix=f"write it as Apprise documents the service, e.g. discord://ID/TOKEN; {CONFIRM}",
            )
        letter = Apprise()
        letter.add(service)
        done = letter.notify(
            body=message.body,
            title=message.title,
            notify_type=NotifyType(KINDS.get(event, "warning")),
            body_format=NotifyFormat.TEXT,
        )
    name = str(service.service_name)
    if not done:
        said = next((line for line in reversed(heard.lines) if line), "no answer")
        raise Refused(
            f"{target.name} could not be told",
            why=f"{name}: {_without(said, url)}",
            fix=f"is the address still good, and can this machine reach {name}? {CONFIRM}",
        )
    return name


def _without(text: str, url: SecretStr) -> str:
    """No part of the address, however the service words its refusal."""
    text = re.sub(r"\S+://\S+", "(address)", text)
    for part in sorted(re.split(r"[/?&=@:#]+", url.get_secret_value())[1:], key=len, reverse=True):
        if len(part) >= 6:
            text = text.replace(part, "***")
    return text.strip().replace("\n", " ")[:300]


class _listening:  # noqa: N801 - reads as a verb where it is used
    """Apprise tells why only in its log, which must not reach ours: at finer levels it holds addresses."""

    def __enter__(self) -> _Heard:
        self.log, self.heard = logging.getLogger("apprise"), _Heard()
        self.before = self.log.propagate, self.log.level
        self.log.propagate = False
        self.log.setLevel(logging.WARNING)
        self.log.addHandler(self.heard)
        return self.heard

    def __exit__(self, *_: object) -> None:
        self.log.removeHandler(self.heard)
        self.log.propagate, level = self.before
        self.log.setLevel(level)
