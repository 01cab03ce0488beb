"""packer/: templates and the program agree on every variable, and a step that has run has nothing left to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import hcl2
import pytest

from ocifree_pipeline.systems.packer.host import Host
from ocifree_pipeline.systems.packer.template import DISK_GB, Build, Template, template_folder, variables_of

FOLDER = template_folder()
SCRIPTS = FOLDER / "scripts"
SOURCED = {"files", "repositories", "run"}
HOST = Host("packer", "1.14.2", "qemu-system-aarch64", "qemu-img", "code.fd", "vars.fd", "tcg", 2)
BUILD = Build("proxmox_ampere", "proxmox-ampere", "arm64", 13, Path("base.qcow2"), "sha256:" + "0" * 64)


def blocks(kind: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every block of a kind in the templates, with its labels."""
    for path in sorted(FOLDER.glob("*.pkr.hcl")):
        for block in hcl2.loads(path.read_text("utf-8")).get(kind, ()):
            labels: tuple[str, ...] = ()
            body = block
            while len(keys := [key for key in body if not key.startswith("__")]) == 1 and keys[0].startswith('"'):
                labels, body = (*labels, keys[0].strip('"')), body[keys[0]]
            yield labels, body


VARIABLES = {labels[0]: body for labels, body in blocks("variable")}
BUILDS = {body["name"].strip('"'): body for _, body in blocks("build")}


def steps(build: dict[str, Any]) -> list[str]:
    """What a build runs, in its order."""
    inline = [line for one in build["provisioner"] for line in one.get('"shell"', {}).get("inline", ())]
    runs = [re.fullmatch(r'"sh /tmp/ocifree/run.sh ([a-z -]+)"', line) for line in inline]
    return [name for run in runs if run for name in run[1].split()]


# templates and the program --------------------------------------------------------------------------------------------


def test_the_program_gives_what_the_templates_take() -> None:
    given = variables_of(BUILD, HOST, Path("work"), Path("key"), "ssh-ed25519 AAAA")
    assert set(given) <= set(VARIABLES)
    without_default = {name for name, body in VARIABLES.items() if "default" not in body}
    assert without_default <= set(given)
    for name, value in given.items():
        kind = {"string": str, "number": int}[str(VARIABLES[name]["type"]).strip('"${}')]
        assert isinstance(value, kind), name


def test_every_variable_says_what_it_is_and_what_it_takes() -> None:
    for name, body in VARIABLES.items():
        assert len(body["description"]) > 20, name
        (validation,) = body["validation"]
        assert f"var.{name}" in validation["condition"], name
        # Packer itself refuses another form.
        assert re.fullmatch(r'"[A-Z].*[.?]"', validation["error_message"]), name


def test_every_variable_is_used() -> None:
    whole = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.pkr.hcl") if path.name != "variables.pkr.hcl")
    for name in VARIABLES:
        assert re.search(rf"\bvar\.{name}\b", whole), name


def test_what_a_declaration_decides_has_no_default() -> None:
    """A build whose source or release came from a default would not be the declared one."""
    assert not {name for name in BUILD.chosen() if "default" in VARIABLES[name]}


def test_the_plugin_stands_in_a_file_of_its_own() -> None:
    plugins = hcl2.loads((FOLDER / "plugins.pkr.hcl").read_text("utf-8"))
    assert [key for key in plugins if not key.startswith("__")] == ["packer"]
    (packer,) = plugins["packer"]
    (required,) = packer["required_plugins"]
    assert set(required) - {"__is_block__"} == {"qemu"}
    others = [path for path in FOLDER.glob("*.pkr.hcl") if "required_plugins" in path.read_text("utf-8")]
    assert others == [FOLDER / "plugins.pkr.hcl"]


def test_there_is_a_build_for_every_template() -> None:
    assert set(BUILDS) == set(get_args(Template)) == set(DISK_GB)
    assert [labels for labels, _ in blocks("source")] == [("qemu", "guest")]
    assert all(build["sources"] == ['"source.qemu.guest"'] for build in BUILDS.values())


def test_no_mirror_of_debian_is_chosen() -> None:
    whole = "\n".join(path.read_text("utf-8") for path in FOLDER.rglob("*") if path.is_file())
    hosts = set(re.findall(r"https?://([a-z0-9.-]+)", whole))
    assert hosts - {"images.example.org"} == {"pkgs.tailscale.com", "download.proxmox.com", "enterprise.proxmox.com"}
    assert "://" not in "".join(
        path.read_text("utf-8") for path in SCRIPTS.glob("*.sh") if "proxmox-e" not in path.name
    )


def test_every_step_is_there_and_is_run() -> None:
    run = {step for build in BUILDS.values() for step in steps(build)}
    assert run == {path.stem for path in SCRIPTS.glob("*.sh")} - SOURCED
    for name, build in BUILDS.items():
        order = steps(build)
        assert order[0] == "release", name
        assert order[-2:] == ["identity", "compact"], name
        assert len(order) == len(set(order)), name
    order = steps(BUILDS["proxmox-ampere"])
    assert order.index("proxmox-repositories") < order.index("proxmox") < order.index("proxmox-enterprise")
    assert order.index("proxmox-enterprise") < order.index("ceph"), "no repository that asks for a subscription is read"


def test_steps_are_given_the_variables_that_they_want() -> None:
    (local,) = (body for _, body in blocks("locals"))
    given = {entry.strip('"').partition("=")[0] for entry in local["environment"]}
    wanted = {
        name
        for path in SCRIPTS.glob("*.sh")
        for name in re.findall(r"\$\(wanted (OCIFREE_\w+)\)", path.read_text("utf-8"))
    }
    assert wanted == given


# the language of the steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.stem)
def test_a_step_is_a_program_of_the_plain_shell(path: Path) -> None:
    for shell in ("sh", "dash"):
        if shutil.which(shell):
            done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
    text = path.read_text("utf-8")
    if path.stem in {"files", "repositories"}:
        assert text.startswith("# shellcheck shell=sh")
    else:
        assert text.startswith("#!/bin/sh\n# ")
        assert "\nset -eu\n" in text
        assert os.access(path, os.X_OK)


@pytest.mark.real("ShellCheck")
def test_shellcheck_has_nothing_to_say() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not on the PATH")
    scripts = sorted(map(str, SCRIPTS.glob("*.sh")))
    done = subprocess.run(
        ["shellcheck", "-x", "-P", "SCRIPTDIR", *scripts], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.real("Packer")
@pytest.mark.parametrize("arguments", [("fmt", "-check", "-diff"), ("validate", "-syntax-only")])
def test_packer_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    program = shutil.which(os.environ.get("PACKER", "packer"))
    if program is None or "Packer" not in _said(program, "version"):
        pytest.skip("packer is not on the PATH")
    done = subprocess.run([program, *arguments, str(FOLDER)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def _said(program: str, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout
