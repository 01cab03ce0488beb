"""The whole of it: Packer builds the hardened image from a Debian, machines from it are asked what they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ocifree_pipeline.systems.images.identity import traces_in
from ocifree_pipeline.systems.images.inspection import look_into
from ocifree_pipeline.systems.packer.booting import UNLISTED_PORT
from ocifree_pipeline.systems.packer.probe import probe
from ocifree_pipeline.systems.packer.template import template_folder
from ocifree_pipeline_tests.real.images import debian, packages, seed
from ocifree_pipeline_tests.real.images.workshop import Workshop
from ocifree_pipeline_tests.real.programs import program

pytestmark = [pytest.mark.real("Packer, a whole build"), pytest.mark.timeout(6 * 3600)]

ASKED_FOR = "OCIFREE_REAL_IMAGES"
COMPACT_BYTES = 900_000_000


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    if os.environ.get(ASKED_FOR) != "1":
        pytest.skip(f"a build in emulation takes half an hour or more; {ASKED_FOR}=1 asks for it")
    debian.require(*seed.programs(), *packages.PROGRAMS)
    there = Workshop(tmp_path)
    there.host()
    return there


def _templates(folder: Path, repositories: packages.Repositories) -> Path:
    """Ours, with the repositories that are in the seed instead of those on the internet."""
    shutil.copytree(template_folder(), folder)
    told = repositories.environ()
    given = {name: told[f"OCIFREE_{name.upper()}"] for name in ("tailscale_repository", "tailscale_fingerprint")}
    (folder / "local.auto.pkrvars.json").write_text(json.dumps(given))
    return folder


def test_an_image_is_built_and_every_machine_from_it_is_another(workshop: Workshop, tmp_path: Path) -> None:
    repositories = packages.repositories(tmp_path / "repositories")
    source = seed.of_debian(tmp_path, repositories.folder)
    wanted = workshop.wanted(source)
    built = workshop.build(wanted, say=print, templates=_templates(tmp_path / "templates", repositories))
    print(f"{built.size} bytes in {built.seconds} s with {built.accelerator}: {built.phases}")

    assert workshop.left() == {built.path.name, built.record.name, built.bill.name}
    assert workshop.running() == []
    subprocess.run([program("qemu-img"), "check", "-q", built.path], timeout=300, check=True)
    seen = look_into(built.path)
    assert (seen.starts("amd64"), seen.file_systems) == (True, ("FAT", "ext4"))
    assert built.size < COMPACT_BYTES
    assert traces_in(built.path).found == ()
    named = {one["name"] for one in json.loads(built.bill.read_text())["components"]}
    assert {"nftables", "chrony", "tailscale", "linux-image-cloud-amd64"} <= named

    (tmp_path / "again").mkdir()
    again = probe(built.path, "amd64", workshop.host(), tmp_path / "again", say=print)
    assert [one for one in (*built.answers, *again) if not one.good] == []
    first, second = ({one.what: one.found for one in answers} for answers in (built.answers, again))
    for what in ("machine id", "host key"):
        assert first[what] != second[what], what
    assert first["an unlisted port, from outside"] == "silence", UNLISTED_PORT
