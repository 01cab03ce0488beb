"""From templates to an image with a name: only what is whole, once, and with nothing left running."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ocifree_pipeline.deployment.errors import (
    NotVerified,
    OcifreeError,
    PreconditionMissing,
    Refused,
    Transient,
)
from ocifree_pipeline.systems.images.disk import UnusableImage
from ocifree_pipeline.systems.images.download import digest_of
from ocifree_pipeline.systems.packer.building import answers_of, find_built
from ocifree_pipeline.systems.packer.probe import Answer
from ocifree_pipeline.systems.packer.template import Build, template_folder
from ocifree_pipeline_tests.systems.packer.conftest import SMALL_DISK, WELL, Bench, small_disk


class Interrupted(BaseException):
    """As the end of a run reaches the step."""


def test_a_build_ends_with_an_image_and_its_record(bench: Bench) -> None:
    built = bench.build()
    assert bench.commands() == ["init", "validate", "build"]
    assert built.fresh
    assert built.path.read_bytes() == bench.source.read_bytes()
    assert bench.left() == {built.path.name, built.record.name, built.bill.name}
    record = json.loads(built.record.read_text("utf-8"))
    assert (record["sha256"], record["size"]) == (digest_of(built.path), built.path.stat().st_size)
    assert (record["packer"], record["accelerator"], record["template"]) == ("1.14.2", "tcg", "base-hardened")
    assert (record["packages"], answers_of(built.path, built.sha256)) == (2, WELL)
    names = [phase.name for phase in built.phases]
    assert names == ["Starting VM, booting disk image", "Connected to SSH!", "updates", "ssh", "start and questions"]
    assert all(phase.seconds >= 0 for phase in built.phases)
    assert "step ssh" in bench.said
    assert not any("W: a step said" in line for line in bench.said)


def test_nothing_is_built_twice(bench: Bench) -> None:
    first = bench.build()
    bench.environ["PATH"] = "/nowhere"  # and no program is needed for it
    again = bench.build()
    assert bench.commands() == ["init", "validate", "build"]
    assert again == replace(first, fresh=False)


@pytest.mark.parametrize("harm", ["flip", "cut", "no image", "no record", "half a record", "foreign record"])
def test_what_is_not_what_was_recorded_is_built_anew(bench: Bench, harm: str) -> None:
    built = bench.build()
    content = built.path.read_bytes()
    if harm == "flip":
        built.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "cut":
        built.path.write_bytes(content[:-10])
    elif harm == "no image":
        built.path.unlink()
    elif harm == "no record":
        built.record.unlink()
    elif harm == "half a record":
        built.record.write_text(built.record.read_text("utf-8")[:50], "utf-8")
    else:
        built.record.write_text("[]", "utf-8")
    assert find_built(built.path, built.key) is None
    assert bench.build().fresh
    assert find_built(built.path, built.key) is not None


def test_the_key_follows_everything_that_makes_another_image(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "packer"
    shutil.copytree(template_folder(), folder)
    assert bench.wanted().key(folder) == bench.wanted().key(template_folder())
    keys = {bench.wanted().key(folder)}
    keys.add(bench.wanted(debian=12).key(folder))
    keys.add(bench.wanted(architecture="arm64").key(folder))
    keys.add(bench.wanted(template="proxmox-ampere").key(folder))
    keys.add(bench.wanted(checksum="sha256:" + "0" * 64).key(folder))
    keys.add(bench.wanted(kind="installer").key(folder))
    (folder / "README.md").write_text("words", "utf-8")
    assert bench.wanted(source=tmp_path / "moved.qcow2").key(folder) in keys
    ssh = folder / "scripts" / "ssh.sh"
    ssh.write_text(ssh.read_text("utf-8") + "# more\n", "utf-8")
    keys.add(bench.wanted().key(folder))
    (folder / "scripts" / "ssh.sh").rename(folder / "scripts" / "sssh.sh")
    keys.add(bench.wanted().key(folder))
    (folder / "guest.pkr.hcl").write_text("", "utf-8")
    keys.add(bench.wanted().key(folder))
    assert len(keys) == 9


def test_the_key_of_a_build_is_private_and_gone_with_it(bench: Bench) -> None:
    bench.build()
    notes = [one for one in bench.notes() if "given" in one]
    assert {one["key_mode"] for one in notes} == {0o600}
    assert not Path(notes[0]["given"]["ssh_private_key_file"]).exists()
    assert notes[0]["given"]["ssh_public_key"].startswith("ssh-ed25519 ")
    assert all("PRIVATE" not in json.dumps(one) for one in bench.notes())


def test_variables_of_the_caller_do_not_reach_the_templates(bench: Bench) -> None:
    bench.environ |= {"PKR_VAR_disk_gb": "3", "PACKER_LOG_PATH": "/elsewhere", "HTTPS_PROXY": "http://127.0.0.1:9"}
    bench.build()
    environ = next(one["env"] for one in bench.notes() if one.get("argv", [""])[0] == "build")
    assert "PKR_VAR_disk_gb" not in environ
    assert environ["PACKER_LOG_PATH"].startswith(str(bench.images))
    assert environ["HTTPS_PROXY"] == "http://127.0.0.1:9"


FAILURES: list[tuple[str, dict[str, Any], type[OcifreeError], str]] = [
    (
        "init",
        {"told": ['Failed getting the "github.com/hashicorp/qemu" plugin:'], "error": "1 error occurred"},
        PreconditionMissing,
        "packer plugins install",
    ),
    ("validate", {"stderr": "Error: Missing plugins"}, PreconditionMissing, "plugin for QEMU is not here"),
    ("validate", {"told": ["Error: Unsupported argument"]}, Refused, "Unsupported argument"),
    ("build", {"error": "write output/image.qcow2: No space left on device"}, PreconditionMissing, "disk is full"),
    ("build", {"stderr": "Could not access KVM kernel module: denied"}, PreconditionMissing, "KVM does not work"),
    ("build", {"error": "Checksums did not match for image"}, NotVerified, "build.source.sha256"),
    ("build", {"error": "Timeout waiting for SSH."}, Refused, "nobody could log in"),
    (
        "build",
        {"error": "could not find a supported CD ISO creation command (the supported commands are: xorriso"},
        PreconditionMissing,
        "install xorriso",
    ),
    (
        "build",
        {"told": ["E: Failed to fetch a package, 503"], "error": "Script exited with non-zero exit status: 100"},
        Transient,
        "packages could not be fetched (in `ssh`)",
    ),
    (
        "build",
        {"told": ["step ssh failed with code 65"], "error": "Script exited with non-zero exit status: 65"},
        Refused,
        "step ssh failed with code 65",
    ),
    ("build", {}, Refused, "packer failed with code 1"),
]


@pytest.mark.parametrize(("command", "fault", "kind", "words"), FAILURES)
def test_failures_say_what_why_and_what_next(
    bench: Bench, command: str, fault: dict[str, Any], kind: type[OcifreeError], words: str
) -> None:
    bench.play(faults={command: {"kind": "error", **fault}})
    with pytest.raises(kind) as caught:
        bench.build()
    assert type(caught.value) is kind
    assert words in str(caught.value)
    kept = {"failed-base_hardened_amd64"} if command == "build" else set()
    assert bench.left() == kept
    if kept:
        assert (bench.images / "failed-base_hardened_amd64" / "console.log").read_text("utf-8") == "Booting\n"
        assert str(bench.images / "failed-base_hardened_amd64") in caught.value.fix
    bench.play()
    assert bench.build().fresh
    assert "failed-base_hardened_amd64" not in bench.left()


def test_one_that_is_killed_is_no_image(bench: Bench) -> None:
    bench.play(faults={"build": {"kind": "die"}})
    with pytest.raises(Transient, match="ended by signal 9"):
        bench.build()
    assert bench.left() == {"failed-base_hardened_amd64"}


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"kind": "nothing"}, NotVerified, "there is no image"),
        ({"kind": "other", "hex": "00"}, NotVerified, "no disk image of a known kind"),
        ({"kind": "other", "hex": "3c68746d6c3e"}, NotVerified, "is a web page"),
        ({"kind": "more", "more": 5_000_000}, Refused, "larger than an image may be"),
    ],
)
def test_what_was_made_is_looked_at_before_it_gets_a_name(
    bench: Bench, fault: dict[str, Any], kind: type[OcifreeError], words: str
) -> None:
    bench.play(faults={"build": fault})
    with pytest.raises(kind, match=words):
        bench.build(most_bytes=4_000_000)
    assert bench.left() == {"failed-base_hardened_amd64"}


def test_an_image_that_answers_wrongly_never_gets_its_name(bench: Bench) -> None:
    asked: list[tuple[str, bool]] = []

    def ask(image: Path, *given: Any, is_base: bool, **more: Any) -> tuple[Answer, ...]:
        asked.append((image.parent.name, is_base))
        return (*WELL, Answer("root with a key", "let in", False))

    with pytest.raises(NotVerified, match="is not hardened: root with a key") as caught:
        bench.build(ask=ask)
    assert "root with a key: let in" in caught.value.why
    assert (asked, bench.left()) == ([("output", True)], {"failed-base_hardened_amd64"})


def test_answers_belong_to_one_image(bench: Bench) -> None:
    built = bench.build()
    assert answers_of(built.path, "0" * 64) is None
    built.record.unlink()
    assert answers_of(built.path, built.sha256) is None


def test_the_bill_of_materials_keeps_to_its_schema(bench: Bench) -> None:
    built = bench.build()
    told = built.bill.read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(told) is None
    bill = json.loads(told)
    assert {one["purl"] for one in bill["components"]} == {
        "pkg:deb/debian/openssh-server@1:10.0p1-7?arch=amd64&distro=debian-13",
        "pkg:deb/tailscale/tailscale@1.98.4?arch=amd64&distro=debian-13",
    }
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": built.sha256}]


def _disc(bench: Bench, algorithm: str = "sha256") -> Build:
    """The disc of an installer, as far as anybody looks at it, and an xorriso that copies it."""
    disc = bench.folder / "netinst.iso"
    disc.write_bytes(bytes(32769) + b"CD001" + SMALL_DISK)
    (bench.bin / "xorriso").write_text('#!/bin/sh\ncp "$4" "$6"; cat "${13}" "${16}" >"$6.answers"\n', "utf-8")
    digest = hashlib.file_digest(disc.open("rb"), algorithm).hexdigest()
    return bench.wanted(source=disc, checksum=f"{algorithm}:{digest}", kind="installer")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_installer_is_given_the_answers_first(bench: Bench, algorithm: str) -> None:
    wanted = _disc(bench, algorithm)
    with pytest.raises(NotVerified, match="not usable"):
        bench.build(wanted)  # it copies its source, and a disc is no disk
    given = next(one["given"] for one in bench.notes() if "given" in one)
    assert given["source_url"].endswith("/installer.iso")
    assert given["source_kind"] == "installer"
    assert given["source_checksum"] == f"sha256:{digest_of(wanted.source)}"
    assert bench.commands() == ["init", "validate", "build"]


def test_what_is_no_disc_and_what_is_another_disc_is_refused(bench: Bench) -> None:
    with pytest.raises(UnusableImage, match="not the disc of an installer"):
        bench.build(bench.wanted(kind="installer"))
    wanted = _disc(bench)
    with wanted.source.open("ab") as disc:
        disc.write(b"more")
    with pytest.raises(NotVerified, match="another disc than the declared one"):
        bench.build(wanted)
    (bench.bin / "xorriso").write_text("#!/bin/sh\necho no room >&2; exit 5\n", "utf-8")
    with pytest.raises(NotVerified, match="could not be given the answers") as caught:
        bench.build(replace(wanted, checksum=f"sha256:{digest_of(wanted.source)}"))
    assert caught.value.why == "no room"
    assert bench.commands() == []


def test_an_image_of_the_other_architecture_is_refused(bench: Bench) -> None:
    bench.source.write_bytes(small_disk("BOOTAA64.EFI"))
    with pytest.raises(NotVerified, match="does not start on amd64"):
        bench.build()


def test_no_room_is_told_before_anything_begins(bench: Bench) -> None:
    with pytest.raises(PreconditionMissing, match="has no room to build"):
        bench.build(free_bytes=lambda folder: 5_000_000_000)
    assert bench.commands() == []


@pytest.mark.parametrize("stubborn", [False, True])
def test_whatever_ends_us_ends_packer_and_its_machine(bench: Bench, stubborn: bool) -> None:
    bench.play(faults={"build": {"kind": "hang", "stubborn": stubborn}})

    def interrupted(line: str) -> None:
        if line.startswith("Waiting for SSH"):
            raise Interrupted

    with pytest.raises(Interrupted):
        bench.build(say=interrupted, grace_seconds=0.5 if stubborn else 10)
    _assert_ended(bench)
    assert len([one for one in bench.notes() if one.get("interrupted")]) == (0 if stubborn else 1)
    assert bench.left() == {"failed-base_hardened_amd64"}


def test_a_build_that_hangs_is_ended(bench: Bench) -> None:
    bench.play(faults={"build": {"kind": "hang"}})
    with pytest.raises(Refused, match="was not done after"):
        bench.build(most_seconds=3)
    _assert_ended(bench)


def _assert_ended(bench: Bench) -> None:
    (hanging,) = (note for note in bench.notes() if "hanging" in note)
    left = [psutil.Process(pid) for pid in (hanging["hanging"], hanging["child"]) if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(left, timeout=10)  # killed is not yet gone
    # The child is adopted by somebody who may not have taken notice of its end yet.
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_a_machine_that_a_killed_build_left_is_ended_by_the_next(bench: Bench) -> None:
    work = bench.images / f"building-base_hardened_amd64-{bench.wanted().key(template_folder())[:16]}"
    work.mkdir(parents=True)
    (work / "half").write_text("", "utf-8")
    qemu = str(bench.bin / "qemu-system-x86_64")
    ours = subprocess.Popen([qemu, "-drive", f"file={work}/output/image.qcow2"])
    others = subprocess.Popen([qemu, "-drive", f"file={bench.images}/building-another/output/image.qcow2"])
    try:
        built = bench.build()
        ours.wait(10)
        assert others.poll() is None
    finally:
        for process in (ours, others):
            process.kill()
            process.wait()
    assert any(line.startswith("ended 1 process") for line in bench.said)
    assert bench.left() == {built.path.name, built.record.name, built.bill.name}


def test_two_builds_of_one_image_do_not_meet(bench: Bench) -> None:
    found: list[str] = []

    def second(line: str) -> None:
        if not found:
            with pytest.raises(Transient) as caught:
                bench.build(say=lambda line: None)
            found.append(caught.value.what)

    bench.build(say=second)
    assert "is being built already" in found[0]
    assert bench.commands().count("build") == 1
