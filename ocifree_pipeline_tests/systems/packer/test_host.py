"""What a computer needs to build, and what it is told when it lacks some of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.packer.host import find_host, runs_with_kvm
from ocifree_pipeline_tests.systems.packer.conftest import Bench


def _refused(bench: Bench, **given: Any) -> str:
    bench.environ["PATH"] = str(bench.bin)
    with pytest.raises(PreconditionMissing) as caught:
        find_host("amd64", bench.environ, machine=lambda: ("Linux", "x86_64"), **given)
    assert "prebuilt" in caught.value.fix or "OCIFREE_FIRMWARE" in caught.value.why or "by hand" in caught.value.fix
    return str(caught.value)


@pytest.mark.parametrize("says", ["Packer v1.10.0", "1.14.2"])
def test_a_packer_that_is_new_enough(bench: Bench, says: str) -> None:
    bench.play(version=says)
    host = bench.host()
    assert host.version == says.removeprefix("Packer v")
    assert (host.qemu, host.firmware_code) == (str(bench.bin / "qemu-system-x86_64"), str(bench.bin / "code.fd"))


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("Packer v1.9.4", "is Packer 1.9.4"),
        ("usage: packer DICTIONARY", "is not Packer"),
        ("", "is not Packer"),
    ],
)
def test_another_packer_is_refused(bench: Bench, says: str, words: str) -> None:
    bench.play(version=says)
    assert words in _refused(bench)


def test_a_packer_that_does_not_run(bench: Bench) -> None:
    (bench.bin / "packer").write_text("#!/nowhere/sh\n", "utf-8")
    assert "does not run" in _refused(bench)


@pytest.mark.parametrize("name", ["packer", "qemu-system-x86_64", "qemu-img", "xorriso"])
def test_what_is_missing_is_named(bench: Bench, name: str) -> None:
    (bench.bin / name).unlink()
    assert name in _refused(bench)


def test_everything_that_is_missing_is_named_at_once(bench: Bench) -> None:
    for name in ("packer", "qemu-system-x86_64", "qemu-img", "xorriso"):
        (bench.bin / name).unlink()
    del bench.environ["OCIFREE_FIRMWARE_CODE"]
    told = _refused(bench, firmware={"amd64": (), "arm64": ()})
    for word in ("packer is not installed", "qemu-system-x86_64", "qemu-img", "UEFI firmware for amd64", "xorriso"):
        assert word in told
    assert "apt install qemu-system-x86 ovmf" in told


def test_a_firmware_is_found_with_its_variables_or_not_at_all(bench: Bench, tmp_path: Path) -> None:
    del bench.environ["OCIFREE_FIRMWARE_CODE"]
    alone, whole = (str(tmp_path / "CODE.fd"), str(tmp_path / "VARS.fd")), (str(bench.bin / "code.fd"),) * 2
    Path(alone[0]).write_bytes(b"")
    firmware: Any = {"amd64": (alone, whole), "arm64": (alone,)}
    bench.environ["OCIFREE_ACCELERATOR"] = "tcg"
    assert find_host("amd64", bench.environ, firmware=firmware).firmware_code == whole[0]
    with pytest.raises(PreconditionMissing, match="UEFI firmware for arm64"):
        find_host("arm64", bench.environ, firmware=firmware)


def test_a_named_firmware_that_is_not_there(bench: Bench) -> None:
    bench.environ["OCIFREE_FIRMWARE_VARS"] = "/nowhere/vars.fd"
    assert "/nowhere/vars.fd is not there" in _refused(bench)


@pytest.mark.parametrize(
    ("machine", "kvm", "architecture", "accelerator"),
    [
        (("Linux", "x86_64"), True, "amd64", "kvm"),
        (("Linux", "x86_64"), None, "amd64", "tcg"),
        (("Linux", "x86_64"), False, "amd64", "tcg"),
        (("Linux", "x86_64"), True, "arm64", "tcg"),
        (("Linux", "aarch64"), True, "arm64", "kvm"),
        (("Darwin", "arm64"), False, "arm64", "hvf"),
        (("Darwin", "arm64"), False, "amd64", "tcg"),
    ],
)
def test_hardware_runs_its_own_architecture(
    bench: Bench, machine: tuple[str, str], kvm: bool | None, architecture: Any, accelerator: str
) -> None:
    """`kvm` is None where the device may be opened and does not work."""
    device = bench.folder / "kvm"
    if kvm is not False:
        device.touch()
    host = find_host(
        architecture, bench.environ, machine=lambda: machine, kvm=device, kvm_works=lambda qemu: kvm is True
    )
    assert host.accelerator == accelerator
    assert host.is_slow == (accelerator == "tcg")


@pytest.mark.parametrize(("says", "works"), [("exit 0", True), ("echo failed to set MSR >&2; exit 134", False)])
def test_kvm_is_believed_when_a_machine_waits_on_it(bench: Bench, says: str, works: bool) -> None:
    qemu = bench.bin / "qemu-system-x86_64"
    qemu.write_text(f"#!/bin/sh\nread word && [ $word = quit ] || exit 1\n{says}\n", "utf-8")
    assert runs_with_kvm(str(qemu)) == works
    assert not runs_with_kvm("/nowhere/qemu")


def test_the_accelerator_is_chosen_by_name(bench: Bench) -> None:
    bench.environ["OCIFREE_ACCELERATOR"] = "kvm"
    assert bench.host().accelerator == "kvm"
    bench.environ["OCIFREE_ACCELERATOR"] = "fast"
    with pytest.raises(PreconditionMissing, match="OCIFREE_ACCELERATOR is 'fast'"):
        bench.host()
