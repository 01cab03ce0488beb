"""ocifree doctor: everything that would make a run fail, looked at before a run, each with its fix."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import typer

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import home
from ocifree_pipeline.cli.output import say, say_json, table
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.sections.images import ImageName

MAX_SKEW_SECONDS = 240  # Oracle refuses signatures that are more than five minutes off.


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: Literal["ok", "warn", "bad"]
    found: str
    fix: str = ""


def examine(path: Path | None, as_json: bool) -> None:
    declaration = declaration_of(path, None, as_json)
    findings = [finding for examination in EXAMINATIONS for finding in examination(declaration)]
    if as_json:
        say_json([asdict(finding) for finding in findings])
    else:
        table(["", "what", "found", "fix"], [[f.state, f.what, f.found, f.fix] for f in findings])
        bad = sum(finding.state == "bad" for finding in findings)
        say()
        say(f"{bad} in the way" if bad else "nothing stands in the way", style="red" if bad else "green")
    raise typer.Exit(Exit.NOT_READY if any(f.state == "bad" for f in findings) else Exit.OK)


def _python(_: Declaration) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding("Python", "ok" if good else "bad", version, "" if good else "install Python 3.11 or newer")


def _dagster_family(_: Declaration) -> Iterator[Finding]:
    from importlib.metadata import version

    versions = {name: version(name) for name in ("dagster", "dagster-webserver", "dagster-graphql")}
    one = len(set(versions.values())) == 1
    yield Finding(
        "Dagster",
        "ok" if one else "bad",
        " ".join(f"{name} {number}" for name, number in versions.items()) if not one else versions["dagster"],
        "" if one else "install the family at one version: pip install -r requirements/dev.txt",
    )


def _home(_: Declaration) -> Iterator[Finding]:
    where = home()
    if not os.environ.get("DAGSTER_HOME"):
        yield Finding("DAGSTER_HOME", "ok", f"not set; ocifree uses {where}", 'for `dagster`: eval "$(ocifree env)"')
    else:
        yield Finding("DAGSTER_HOME", "ok", str(where))
    if where.exists() and where.stat().st_mode & 0o077:
        yield Finding("history", "warn", f"{where} can be read by others", f"chmod 700 {where}")
    free = shutil.disk_usage(where if where.exists() else Path.cwd()).free // 10**9
    enough = free >= 30
    yield Finding("disk", "ok" if enough else "warn", f"{free} GB free", "" if enough else "images take up to 30 GB")


def _images(declaration: Declaration) -> tuple[ImageName, ...]:
    """Those of Debian that this deployment is made of."""
    try:
        topology = blueprint_of(declaration).plan.topology
    except OcifreeError:
        topology = "proxmox-ceph"
    proxmox: tuple[ImageName, ...] = ("base_hardened_arm64", "proxmox_ampere")
    return ("base_hardened_amd64", *(proxmox if topology == "proxmox-ceph" else ()))


def _tools(declaration: Declaration) -> Iterator[Finding]:
    wanted: list[tuple[str, str, bool]] = []
    builds = any(
        (image := declaration.images.image(name, declaration.site.account)) and image.origin == "build"
        for name in _images(declaration)
    )
    wanted += [("packer", "builds images (`images.*.build`)", builds)]
    wanted += [("qemu-system-aarch64", "runs the build of arm64 images", builds), ("qemu-img", "reads images", builds)]
    wanted += [("tofu", "foundation.engine is opentofu", declaration.foundation.engine == "opentofu")]
    for program, purpose, needed in wanted:
        if not needed:
            continue
        where = shutil.which(program)
        if where is None:
            yield Finding(program, "warn", f"not found; {purpose}", f"install {program}, or declare prebuilt images")
        else:
            yield Finding(program, "ok", _version(where))


def _sources(declaration: Declaration) -> Iterator[Finding]:
    """What a build starts from is nobody's to choose but the person's; without it only the run would tell."""
    for name in _images(declaration):
        image = declaration.images.image(name, declaration.site.account)
        builds = image is not None and image.origin == "build" and name != "proxmox_ampere"
        if builds and getattr(getattr(image, "build", None), "source", None) is None:
            yield Finding(
                f"image {name}",
                "bad",
                "its build has nothing to start from",
                f"write `images: {{{name}: {{build: {{source: {{url, sha512}}}}}}}}` with Debian's generic cloud image",
            )


def _version(program: str) -> str:
    done = subprocess.run(  # noqa: S603
        [program, "--version"], capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL
    )
    return (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else program


def _secrets(declaration: Declaration) -> Iterator[Finding]:
    for name, reference in sorted(declaration.secrets.items()):
        if reference.scheme == "env":
            there = bool(os.environ.get(reference.name))
        elif reference.scheme == "sops":
            there = Path(reference.file).exists()
        else:
            continue
        yield Finding(
            f"secret {name}",
            "ok" if there else "bad",
            f"{reference} {'is there' if there else 'is missing'}",
            "" if there else f"provide {reference}",
        )


def _credentials(declaration: Declaration) -> Iterator[Finding]:
    from ocifree_pipeline.systems.oci.session import session_for

    try:
        session = session_for(declaration.site)
    except OcifreeError as error:
        yield Finding("Oracle credentials", "bad", error.what, error.fix)
        return
    key = Path(str(session.config.get("key_file", ""))).expanduser()
    if key.exists() and key.stat().st_mode & 0o077:
        yield Finding("API key", "warn", f"{key} can be read by others", f"chmod 600 {key}")
    yield Finding("Oracle credentials", "ok", f"profile {declaration.site.credentials.profile}")
    yield from _oracle(declaration)


def _oracle(declaration: Declaration) -> Iterator[Finding]:
    """One unsigned request for the clock, one signed request for the rights."""
    import requests

    from ocifree_pipeline.systems.oci.errors import told
    from ocifree_pipeline.systems.oci.session import session_for

    host = f"https://identity.{declaration.site.region}.oci.oraclecloud.com"
    try:
        answer = requests.get(f"{host}/20160918/regions", timeout=10)
    except requests.RequestException as error:
        yield Finding("reach Oracle", "bad", type(error).__name__, f"can this machine open {host} ?")
        return
    yield Finding("reach Oracle", "ok", host)
    yield _clock(answer.headers.get("date"), time.time())
    session = session_for(declaration.site)
    try:
        with told("read the tenancy"):
            tenancy = session.client("identity.IdentityClient").get_tenancy(session.tenancy).data
    except OcifreeError as error:
        yield Finding("signed request", "bad", error.what, error.fix)
        return
    yield Finding("signed request", "ok", f"tenancy {tenancy.name}")


def _clock(date: str | None, now: float) -> Finding:
    from email.utils import parsedate_to_datetime

    if date is None:
        return Finding("clock", "warn", "Oracle's answer has no date", "compare the clock by hand")
    skew = now - parsedate_to_datetime(date).timestamp()
    good = abs(skew) < MAX_SKEW_SECONDS
    return Finding(
        "clock", "ok" if good else "bad", f"{skew:+.0f} s against Oracle", "" if good else "run an NTP client"
    )


def _proxy(_: Declaration) -> Iterator[Finding]:
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if not proxy:
        return
    host, _colon, port = proxy.rsplit("/", 1)[-1].rpartition(":")
    try:
        socket.create_connection((host.rpartition("@")[2], int(port)), timeout=3).close()
    except (OSError, ValueError):
        yield Finding("proxy", "bad", "HTTPS_PROXY does not answer", "unset it, or start it (`ocifree sandbox up`)")
        return
    yield Finding("proxy", "ok", "HTTPS_PROXY answers; everything goes through it")


EXAMINATIONS: tuple[Callable[[Declaration], Iterator[Finding]], ...] = (
    _python,
    _dagster_family,
    _home,
    _tools,
    _sources,
    _secrets,
    _proxy,
    _credentials,
)
