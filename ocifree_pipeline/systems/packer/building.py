"""Build an image once: what was built from the same template, scripts, variables and source is taken as it is.

Everything happens in a folder of the build alone. An image gets its name only after it was looked into, started and
asked, and its record (a JSON file beside it) is written last: an image without a record, or of another digest, was
never finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, PreconditionMissing, Refused, Transient
from ocifree_pipeline.systems.durable import make_durable
from ocifree_pipeline.systems.images.download import SPARE_BYTES, digest_of
from ocifree_pipeline.systems.images.inspection import firmware_for, look_into, opened
from ocifree_pipeline.systems.images.progress import size_in_words
from ocifree_pipeline.systems.packer.booting import one_time_key
from ocifree_pipeline.systems.packer.contents import Package, bill_of, packages_in
from ocifree_pipeline.systems.packer.host import Host
from ocifree_pipeline.systems.packer.installer import require_disc, with_answers
from ocifree_pipeline.systems.packer.messages import Listener, Phase, error_of, words_of_qemu
from ocifree_pipeline.systems.packer.probe import Answer, probe, require_hardened
from ocifree_pipeline.systems.packer.process import GRACE_SECONDS, end_leftovers, run
from ocifree_pipeline.systems.packer.template import ROOM_GB, Build, template_folder, variables_of

GIGA = 1_000_000_000
INIT_SECONDS, VALIDATE_SECONDS = 900.0, 300.0
BUILD_SECONDS, SLOW_BUILD_SECONDS = 2 * 3600.0, 8 * 3600.0
_QEMU_WORDS = 5
Ask = Callable[..., tuple[Answer, ...]]
"""As `probe.probe`; tests have another."""
_NOT_HANDED_ON = ("PKR_VAR_", "PACKER_LOG")


@dataclass(frozen=True, slots=True)
class Built:
    """A finished image. `fresh` tells whether it was built just now; the rest is the record of its build."""

    path: Path
    key: str
    sha256: str
    size: int
    accelerator: str
    seconds: float
    phases: tuple[Phase, ...]
    packages: int
    answers: tuple[Answer, ...]
    fresh: bool

    @property
    def record(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def bill(self) -> Path:
        """What is in it, in CycloneDX."""
        return self.path.with_suffix(".cdx.json")


def build_image(
    build: Build,
    folder: Path,
    find_host: Callable[[], Host],
    *,
    most_bytes: int,
    say: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
    templates: Path | None = None,
    most_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ask: Ask | None = None,
) -> Built:
    """The image of `build` in `folder`. The computer is looked at only if there is something to build."""
    templates = templates or template_folder()
    key = build.key(templates)
    target = folder / f"{build.image}-{key[:16]}.qcow2"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(target):
        there = find_built(target, key)
        if there is not None:
            return there
        _require_source(build)
        host = find_host()
        _require_room(build, folder, free_bytes)
        work = folder / f"building-{target.stem}"
        made = _Making(build, host, templates, work, say, _environ(environ, work), grace_seconds)
        with made.workspace():
            limit = most_seconds or (SLOW_BUILD_SECONDS if host.is_slow else BUILD_SECONDS)
            started = time.monotonic()
            phases = made.run(limit).phases()
            seconds = round(time.monotonic() - started, 1)
            image = made.accepted(most_bytes)
            started = time.monotonic()
            answers = (ask or probe)(image, build.architecture, host, work, is_base=made.is_base, say=say)
            require_hardened(answers, build.image)
            phases = (*phases, Phase("start and questions", round(time.monotonic() - started, 1)))
            digest, size, packages = digest_of(image), image.stat().st_size, made.packages()
            built = Built(
                *(target, key, digest, size, host.accelerator, seconds, phases, len(packages), answers),
                fresh=True,
            )
            make_durable(image)
            built.record.unlink(missing_ok=True)
            image.replace(target)
            _write(built.bill, bill_of(packages, image=build.image, debian=build.debian, sha256=digest))
            _write_record(built, build, host)
        shutil.rmtree(made.kept_logs, ignore_errors=True)
        return built


def find_built(target: Path, key: str) -> Built | None:
    """What an earlier run finished; None if there is none, or if the file is no longer what was recorded."""
    try:
        record: Any = json.loads(target.with_suffix(".json").read_text("utf-8"))
        if record["key"] != key or digest_of(target) != record["sha256"]:
            return None
        return Built(
            path=target,
            key=key,
            sha256=record["sha256"],
            size=record["size"],
            accelerator=record["accelerator"],
            seconds=record["seconds"],
            phases=tuple(Phase(**one) for one in record["phases"]),
            packages=record["packages"],
            answers=tuple(Answer(**one) for one in record["answers"]),
            fresh=False,
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def answers_of(path: Path, sha256: str) -> tuple[Answer, ...] | None:
    """What the image of this digest answered when it was built; None if that is not known."""
    try:
        record: Any = json.loads(path.with_suffix(".json").read_text("utf-8"))
        return tuple(Answer(**one) for one in record["answers"]) if record["sha256"] == sha256 else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class _Making:
    """One run of Packer in its own folder."""

    build: Build
    host: Host
    templates: Path
    work: Path
    say: Callable[[str], None]
    environ: Mapping[str, str] = field(repr=False)
    grace_seconds: float

    @property
    def kept_logs(self) -> Path:
        return self.work.parent / f"failed-{self.build.image}"

    @contextmanager
    def workspace(self) -> Iterator[None]:
        """The folder, fresh; afterwards gone, but for the logs of a build that failed."""
        left = end_leftovers(self.work)
        if left:
            self.say(f"ended {left} process(es) that a build which was killed had left behind")
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(mode=0o700)
        try:
            yield
        except BaseException:
            self._keep_logs()
            raise
        finally:
            shutil.rmtree(self.work, ignore_errors=True)

    def run(self, most_seconds: float) -> Listener:
        key_file, public_key = one_time_key(self.work)
        variables = self.work / "variables.pkrvars.json"
        given = variables_of(self.build, self.host, self.work, key_file, public_key)
        if self.build.kind == "installer":
            given |= self._disc_with_answers()
        variables.write_text(json.dumps(given, indent=1), "utf-8")
        chosen = [f"-only={self.build.template}.qemu.guest", f"-var-file={variables}", str(self.templates)]
        how = "emulated, so it takes long" if self.host.is_slow else self.host.accelerator
        self.say(f"build {self.build.image} with Packer {self.host.version} ({how})")
        self._packer("fetch the plugin", INIT_SECONDS, "init", str(self.templates))
        self._packer("validate the template", VALIDATE_SECONDS, "validate", *chosen)
        return self._packer(
            f"build {self.build.image}", most_seconds, "build", "-color=false", "-on-error=cleanup", *chosen
        )

    def _disc_with_answers(self) -> dict[str, str]:
        algorithm, _, wanted = self.build.checksum.partition(":")
        if self.host.xorriso is None:
            raise PreconditionMissing(
                "xorriso is not installed", why="the answers are written on the installer's disc", fix="install xorriso"
            )
        if digest_of(self.build.source, algorithm) != wanted:
            raise NotVerified(
                f"{self.build.source.name} is another disc than the declared one",
                why=f"its {algorithm} checksum differs",
                fix="delete it and materialize the asset again",
            )
        self.say("write the answers on the installer's disc")
        disc = with_answers(
            self.build.source, self.templates / "installer", self.host.xorriso, self.work / "installer.iso"
        )
        return {"source_url": str(disc), "source_checksum": f"sha256:{digest_of(disc)}"}

    def _packer(self, doing: str, most_seconds: float, command: str, *arguments: str) -> Listener:
        listener = Listener(self.say)
        ended = run(
            [self.host.packer, command, "-machine-readable", *arguments],
            folder=self.work,
            environ=self.environ,
            hear=listener.hear,
            most_seconds=most_seconds,
            grace_seconds=self.grace_seconds,
        )
        if ended.code != 0:
            log = self.work / "packer.log"
            said = words_of_qemu(log.read_text("utf-8", "replace")) if log.exists() else ()
            raise error_of(doing, ended.code, listener, (*ended.last_words, *said[-_QEMU_WORDS:]), str(self.kept_logs))
        return listener

    def accepted(self, most_bytes: int) -> Path:
        """What Packer made, if it is an image that machines of the architecture start from and that is small enough."""
        image = self.work / "output" / "image.qcow2"
        if not image.is_file():
            raise NotVerified(
                f"packer says that {self.build.image} is built, and there is no image",
                why=f"output/{image.name} is missing",
                fix=f"read the logs in {self.kept_logs}",
            )
        size = image.stat().st_size
        if size >= most_bytes:
            raise Refused(
                f"{self.build.image} is larger than an image may be, and was thrown away",
                why=f"it has {size_in_words(size)}, and `images.max_gb` allows {size_in_words(most_bytes)}",
                fix="take out what it does not need (packer/scripts), or raise `images.max_gb` if it is below 10",
            )
        try:
            firmware_for(look_into(image), self.build.architecture, self.build.image)
        except OcifreeError as error:
            raise NotVerified(
                f"what was built is not usable: {error.what}", why=error.why, fix=f"read the logs in {self.kept_logs}"
            ) from error
        return image

    @property
    def is_base(self) -> bool:
        return self.build.template == "base-hardened"

    def packages(self) -> tuple[Package, ...]:
        """Everything that is installed, as the build wrote it down."""
        listed = self.work / "packages.tsv"
        return packages_in(listed.read_text("utf-8")) if listed.exists() else ()

    def _keep_logs(self) -> None:
        shutil.rmtree(self.kept_logs, ignore_errors=True)
        for name in ("packer.log", "console.log", "probe/console.log", "probe/qemu.log"):
            if (self.work / name).exists():
                self.kept_logs.mkdir(exist_ok=True, mode=0o700)
                shutil.move(self.work / name, self.kept_logs / name.replace("/", "-"))


def _require_source(build: Build) -> None:
    if build.kind == "installer":
        require_disc(build.source)
        return
    with opened(build.source):
        pass


def _environ(environ: Mapping[str, str], work: Path) -> dict[str, str]:
    """What Packer gets to see: not the caller's variables of templates, which would change what is built."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_NOT_HANDED_ON)}
    return kept | {
        "CHECKPOINT_DISABLE": "1",
        "PACKER_NO_COLOR": "1",
        "PACKER_LOG": "1",
        "PACKER_LOG_PATH": str(work / "packer.log"),
        "PACKER_CACHE_DIR": str(work / "cache"),
    }


def _require_room(build: Build, folder: Path, free_bytes: Callable[[Path], int]) -> None:
    needed, free = ROOM_GB[build.template] * GIGA + SPARE_BYTES, free_bytes(folder)
    if free < needed:
        raise PreconditionMissing(
            f"{folder} has no room to build {build.image}",
            why=f"a build takes up to {size_in_words(needed)}, and {size_in_words(free)} are free",
            fix=f"free some room, or move DAGSTER_HOME to a larger disk; old images are in {folder}",
        )


def _write_record(built: Built, build: Build, host: Host) -> None:
    record = {
        "image": build.image,
        "template": build.template,
        "variables": build.chosen(),
        "source": str(build.source),
        "packer": host.version,
        **{name: value for name, value in asdict(built).items() if name not in ("path", "fresh")},
    }
    _write(built.record, json.dumps(record, indent=1))


def _write(target: Path, text: str) -> None:
    part = target.with_name(f"{target.name}.part")
    part.write_text(text, "utf-8")
    make_durable(part)
    part.replace(target)
    make_durable(target.parent)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    with target.with_suffix(".lock").open("wb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Transient(
                f"{target.name} is being built already",
                why="another run on this computer has its lock",
                fix="wait for that run (`ocifree watch`)",
            ) from error
        yield
