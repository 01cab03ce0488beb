"""What `packer -machine-readable` says: lines of `time,target,type,data...`, as phases, progress and errors.

A comma in the data is written %!(PACKER_COMMA), a line break as backslash and n.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, PreconditionMissing, Refused, Transient

_COMMA = "%!(PACKER_COMMA)"
_SPEAKER = re.compile(r"^(?:==>|-->)?\s*[\w.-]+\.qemu\.\w+:\s*")
_PHASE = re.compile(
    r"(Retrieving ISO|Creating CD disk|Resizing hard drive|Copying hard drive|Starting VM|Waiting for SSH|"
    r"Connected to SSH|Provisioning with|Uploading|Downloading|Gracefully halting|Converting hard drive)\b"
)
"""What Packer says of itself. Newer releases mark the words of a step in the guest the same way, so these are named."""
_PLACES = re.compile(r":? /.*")
"""Files of one run in a name would make it another phase each time."""
_QEMU_SAID = re.compile(r"Qemu stderr: (.*)$")
_STEP = re.compile(r"^step ([a-z0-9-]+)$")
_KEPT = 30


@dataclass(frozen=True, slots=True)
class Message:
    """`data` is unescaped."""

    target: str
    kind: str
    data: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a build by its name, and how long it took."""

    name: str
    seconds: float


def parse(line: str) -> Message | None:
    """The message in a line; None if it is not one (some commands print words as well)."""
    parts = line.rstrip("\n").split(",")
    if len(parts) < 3 or not parts[0].isdigit():
        return None
    return Message(parts[1], parts[2], tuple(_plain(one) for one in parts[3:]))


def _plain(text: str) -> str:
    return text.replace(_COMMA, ",").replace("\\r", "\r").replace("\\n", "\n")


@dataclass(slots=True)
class Listener:
    """Hears one run: says what a person wants to see, and keeps errors and how long each phase took."""

    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic
    errors: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)
    _phase: str | None = None
    _since: float = 0.0
    _phases: list[Phase] = field(default_factory=list)

    def hear(self, line: str) -> None:
        message = parse(line)
        if message is None:
            self._remember(line)
        elif message.kind == "ui" and len(message.data) > 1:
            for text in message.data[1].splitlines():
                self._ui(message.data[0], _SPEAKER.sub("", text).strip())
        elif message.kind == "error" and message.data:
            self.errors.append(message.data[0].strip())

    def _ui(self, level: str, text: str) -> None:
        if not text:
            return
        step = _STEP.match(text)
        if step or (level == "say" and _PHASE.match(text)):
            self._begin(step[1] if step else _PLACES.sub("", text))
            self.say(text)
        else:
            # What a step of a good build writes to its error output is a `ui,error` as well.
            self._remember(text)
            if text.startswith("installing"):
                self.say(text)

    def _begin(self, name: str) -> None:
        self._end()
        self._phase, self._since = name, self.monotonic()

    def _end(self) -> None:
        if self._phase is not None:
            self._phases.append(Phase(self._phase, round(self.monotonic() - self._since, 3)))
        self._phase = None

    def phases(self) -> tuple[Phase, ...]:
        self._end()
        return tuple(self._phases)

    @property
    def step(self) -> str | None:
        """What it is in now, or was in last."""
        return self._phase or (self._phases[-1].name if self._phases else None)

    def _remember(self, text: str) -> None:
        if text.strip():
            self.noise = [*self.noise[-_KEPT + 1 :], text.strip()]


@dataclass(frozen=True, slots=True)
class _Row:
    """First match wins."""

    pattern: str
    kind: type[OcifreeError]
    what: str
    fix: str


_ROWS = (
    _Row(r"No space left on device|not enough (disk )?space", PreconditionMissing, "the disk is full",
         "free some room, or move DAGSTER_HOME to a larger disk"),
    _Row(r"Could not access KVM|failed to initialize kvm|/dev/kvm|kvm_buf_set_msrs|KVM internal error",
         PreconditionMissing, "KVM does not work",
         "let your user use /dev/kvm (group kvm), end other programs that hold the hardware, or do without: "
         "OCIFREE_ACCELERATOR=tcg"),
    _Row(r"[Cc]hecksums? (did not match|mismatch)|expected checksum", NotVerified, "the source is another file",
         "compare `build.source.sha256` with what its publisher shows; delete a file that was cut off"),
    _Row(r"[Mm]issing plugin|plugins? (is|are) (missing|required|not installed)|no plugin installed|"
         r"could not (install|download|get) .*plugin|[Ff]ailed getting .*plugin", PreconditionMissing,
         "Packer's plugin for QEMU is not here and could not be fetched",
         "`packer plugins install github.com/hashicorp/qemu` where there is a network, or name its folder in "
         "PACKER_PLUGIN_PATH"),
    _Row(r"supported CD ISO creation command", PreconditionMissing, "no program here makes the disk of the first boot",
         "install xorriso"),
    _Row(r"[Tt]imeout waiting for SSH|ssh: (unable to authenticate|handshake failed)", Refused,
         "the machine started and nobody could log in", "read what it said on its console while it started"),
    _Row(r"Temporary failure (in name resolution|resolving)|Could not (connect|resolve)|Failed to fetch|"
         r"Connection (timed out|reset)|Hash Sum mismatch", Transient, "packages could not be fetched",
         "materialize the asset again; if it stays, look at the network of this computer"),
    _Row(r"Could not (open|load|read) .*(fd|raw|firmware)|pflash|system firmware", PreconditionMissing,
         "QEMU refuses the firmware",
         "install ovmf and qemu-efi-aarch64 anew, or name others in OCIFREE_FIRMWARE_CODE and OCIFREE_FIRMWARE_VARS"),
)  # fmt: skip


def error_of(doing: str, code: int, listener: Listener, last_words: Sequence[str], logs: str = "") -> OcifreeError:
    """The error of a run that failed: the first thing that is known about what it said decides the kind."""
    said = [*listener.noise, *(line.strip() for line in last_words if line.strip())]
    where = f" (in `{listener.step}`)" if listener.step else ""
    text, see = "\n".join([*listener.errors, *said]), f"; logs: {logs}" if logs else ""
    if code < 0 and not listener.errors:
        return Transient(
            f"{doing}: packer was ended by signal {-code}{where}",
            why="somebody ended it, or this computer ran out of memory",
            fix=f"look at the memory (`dmesg`), then materialize the asset again{see}",
        )
    for row in _ROWS:
        found = re.search(row.pattern, text)
        if found:
            line = next(one for one in text.splitlines() if re.search(row.pattern, one))
            return row.kind(f"{doing}: {row.what}{where}", why=_short(line), fix=row.fix + see)
    return Refused(
        f"{doing}: packer failed with code {code}{where}",
        why=_short("; ".join([*said[-4:], *listener.errors]) or "it said nothing"),
        fix=f"read the logs of the build, mend the cause, and materialize the asset again{see}",
    )


def words_of_qemu(log: str) -> tuple[str, ...]:
    """What the machine's program wrote to its error output, which Packer keeps to its log."""
    return tuple(found[1] for line in log.splitlines() if (found := _QEMU_SAID.search(line)))


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 600 else "..." + words[-600:]
