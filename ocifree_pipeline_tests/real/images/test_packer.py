"""The real Packer and QEMU: they take what we give them, and say what is wrong, and then there is never an image."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, PreconditionMissing, Refused
from ocifree_pipeline.systems.images.disk import UnusableImage
from ocifree_pipeline.systems.packer.booting import one_time_key, started
from ocifree_pipeline.systems.packer.host import Architecture
from ocifree_pipeline.systems.packer.installer import require_disc, with_answers
from ocifree_pipeline.systems.packer.template import Kind, Template, template_folder, variables_of
from ocifree_pipeline_tests.real.images.workshop import Workshop
from ocifree_pipeline_tests.real.programs import program, until

pytestmark = [pytest.mark.real("Packer and QEMU"), pytest.mark.timeout(900)]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    there = Workshop(tmp_path)
    there.host()
    return there


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A disk with nothing on it: a machine from it starts, and stays in its firmware."""
    disk = tmp_path / "empty.qcow2"
    made = [program("qemu-img"), "create", "-q", "-f", "qcow2", str(disk), "64M"]
    subprocess.run(made, timeout=60, check=True)
    return disk


def refused(workshop: Workshop, kind: type[OcifreeError], source: Path, **changes: str) -> OcifreeError:
    wanted = workshop.wanted(source, digest=changes.pop("digest", ""))
    workshop.environ |= changes
    with pytest.raises(kind) as caught:
        workshop.build(wanted)
    assert (type(caught.value), workshop.running()) == (kind, [])
    assert not [name for name in workshop.left() if not name.startswith("failed-")]
    assert caught.value.why
    return caught.value


@pytest.mark.parametrize("template", ["base-hardened", "proxmox-ampere"])
@pytest.mark.parametrize("of", [("amd64", "image"), ("arm64", "image"), ("amd64", "installer")], ids=" ".join)
def test_every_template_is_valid_with_the_plugin(
    workshop: Workshop, empty: Path, tmp_path: Path, template: Template, of: tuple[Architecture, Kind]
) -> None:
    architecture, kind = of
    build = replace(workshop.wanted(empty), template=template, architecture=architecture, kind=kind)
    host = workshop.host()
    key_file, public_key = one_time_key(tmp_path)
    given = tmp_path / "given.pkrvars.json"
    given.write_text(json.dumps(variables_of(build, host, tmp_path / "work", key_file, public_key)))
    words = [host.packer, "validate", f"-only={template}.qemu.guest", f"-var-file={given}", str(template_folder())]
    done = subprocess.run(words, env=workshop.environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_answers_are_on_the_installers_disc(disc: Path, tmp_path: Path) -> None:
    xorriso, answers, out = program("xorriso"), template_folder() / "installer", tmp_path / "out"
    require_disc(disc)
    made = with_answers(disc, answers, xorriso, tmp_path / "installer.iso")
    read = [xorriso, "-osirrox", "on", "-indev", str(made), "-extract", "/", str(out)]
    subprocess.run(read, capture_output=True, timeout=120, check=True)
    assert (out / "preseed.cfg").read_text() == (answers / "preseed.cfg").read_text()
    assert (out / "boot/grub/grub.cfg").read_text() == (answers / "grub.cfg").read_text()
    checked = [program("debconf-set-selections"), "--checkonly", str(answers / "preseed.cfg")]
    subprocess.run(checked, capture_output=True, timeout=60, check=True)


def test_a_source_of_another_checksum(workshop: Workshop, empty: Path) -> None:
    error = refused(workshop, NotVerified, empty, digest="0" * 128)
    assert "the source is another file" in error.what
    assert "build.source" in error.fix


def test_a_source_that_is_no_disk_image(workshop: Workshop, tmp_path: Path) -> None:
    page = tmp_path / "debian.qcow2"
    page.write_text("<html>not found</html>\n" * 1000)
    error = refused(workshop, UnusableImage, page)
    assert "is a web page, not a disk image" in error.what
    assert "address of the file itself" in error.fix


def test_a_plugin_that_is_missing(workshop: Workshop, empty: Path, tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    error = refused(workshop, PreconditionMissing, empty, PACKER_PLUGIN_PATH=str(tmp_path / "none"), **nowhere)
    assert "Packer's plugin for QEMU is not here" in error.what
    assert "PACKER_PLUGIN_PATH" in error.fix


def test_a_firmware_that_is_none(workshop: Workshop, empty: Path, tmp_path: Path) -> None:
    half = tmp_path / "code.fd"
    half.write_bytes(b"half")
    named = {"OCIFREE_FIRMWARE_CODE": str(half), "OCIFREE_FIRMWARE_VARS": str(half)}
    error = refused(workshop, PreconditionMissing, empty, **named)
    assert "QEMU refuses the firmware" in error.what
    assert "OCIFREE_FIRMWARE_CODE" in error.fix


def test_hardware_that_does_not_help(workshop: Workshop, empty: Path) -> None:
    if workshop.host().accelerator == "kvm":
        pytest.skip("KVM works here")
    error = refused(workshop, PreconditionMissing, empty, OCIFREE_ACCELERATOR="kvm")
    assert "KVM does not work" in error.what
    assert "OCIFREE_ACCELERATOR=tcg" in error.fix


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """Like that of an installer, with nothing to install."""
    tree, made = tmp_path / "tree", tmp_path / "netinst.iso"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text("menuentry 'Install'\n")
    command = [program("xorriso"), "-as", "mkisofs", "-r", "-o", str(made), str(tree)]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return made


@pytest.mark.parametrize("of", [("amd64", "image"), ("arm64", "image"), ("amd64", "installer")], ids=" ".join)
def test_a_build_that_is_interrupted_leaves_nothing_running(
    workshop: Workshop, empty: Path, disc: Path, of: tuple[Architecture, Kind]
) -> None:
    architecture, kind = of
    source = disc if kind == "installer" else empty
    wanted = replace(workshop.wanted(source), architecture=architecture, kind=kind)
    seen: list[list[str]] = []

    class Interrupted(BaseException):
        pass

    def say(line: str) -> None:
        if line.startswith("Waiting for SSH"):
            seen.append(workshop.running())
            raise Interrupted

    with pytest.raises(Interrupted):
        workshop.build(wanted, say=say)
    assert any(Path(workshop.host(architecture).qemu).name in words for words in seen[0])
    assert workshop.running() == []
    assert workshop.left() == {"failed-base_hardened_amd64"}


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_machine_to_be_asked_gets_as_far_as_its_firmware(
    workshop: Workshop, empty: Path, tmp_path: Path, architecture: Architecture
) -> None:
    """It speaks on its serial port, and goes with the block."""
    work = tmp_path / "work"
    work.mkdir()
    with started(empty, workshop.host(architecture), work) as machine:
        log = machine.console.with_name("qemu.log")
        until(lambda: "BdsDxe" in machine.said(), machine.process, log, seconds=300)
    assert machine.process.poll() is not None


def test_a_machine_that_nobody_can_log_in_to(workshop: Workshop, empty: Path) -> None:
    with pytest.raises(Refused, match="was not done after"):
        workshop.build(workshop.wanted(empty), most_seconds=20)
    assert workshop.running() == []
    assert (workshop.images / "failed-base_hardened_amd64" / "packer.log").stat().st_size > 0
