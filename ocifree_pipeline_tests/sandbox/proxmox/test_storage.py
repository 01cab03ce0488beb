"""What storages take, and files that a node fetches by itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox.image_hosts import mirror
from ocifree_pipeline.sandbox.proxmox import volumes
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig

OFFERED = mirror.offered()["base_hardened_arm64"]
FETCH = f"pvesh create /nodes/pve1/storage/local/download-url --url {OFFERED.url} --content import"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig.of(tmp_path, 1)
    made.ok("pve1", "pvesm set local --content iso,vztmpl,import")
    return made


def test_a_file_is_fetched_once_and_its_digest_is_compared(rig: Rig) -> None:
    checked = f"{FETCH} --filename disk.qcow2 --checksum {OFFERED.sha256} --checksum-algorithm sha256"
    rig.ok("pve1", checked)
    assert "local:import/disk.qcow2" in rig.ok("pve1", "pvesm list local")
    kept = volumes.find(rig.node(), "local:import/disk.qcow2")
    assert kept["disk"]["loaders"] == ["aarch64"]
    assert "no need to download" in rig.ok("pve1", checked)
    again = rig.run("pve1", f"{FETCH} --filename disk.qcow2")
    assert "refusing to override existing file" in again.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{FETCH} --filename disk.xz", "invalid filename or wrong extension"),
        (f"{FETCH} --filename a.qcow2 --compression zst", "decompression not supported for import"),
        (f"{FETCH} --filename a.qcow2 --checksum abc", "checksum-algorithm: missing"),
        (
            f"{FETCH} --filename a.qcow2 --checksum {hashlib.sha256(b'').hexdigest()} --checksum-algorithm sha256",
            "checksum mismatch",
        ),
        (f"{FETCH.replace('/v1/', '/v9/')} --filename a.qcow2", "404"),
        (f"{FETCH.replace('--content import', '--content iso')} --filename a.qcow2", "wrong extension"),
        ("pvesm set nowhere --content iso", "storage 'nowhere' does not exist"),
        ("pvesm set local --content nonsense", "content type 'nonsense' does not exist"),
        ("pvesm add dir more", "path: property is missing"),
        ("pvesm add zfspool more --pool x", "not played"),
    ],
)
def test_refusals(rig: Rig, line: str, says: str) -> None:
    answer = rig.run("pve1", line)
    assert answer.code != 0
    assert says in answer.err


def test_a_storage_takes_only_what_it_is_for(rig: Rig) -> None:
    rig.ok("pve1", "pvesm set local --content iso")
    assert "is not configured for content-type 'import'" in rig.run("pve1", f"{FETCH} --filename a.qcow2").err
    assert "is not configured for content-type 'images'" in rig.run("pve1", "qm create 100 --scsi0 local:8").err


def test_the_nodes_own_storage_comes_back_as_it_is_where_nothing_is_said(rig: Rig) -> None:
    rig.ok("pve1", "pvesm remove local")
    assert "backup,images,iso,rootdir,snippets,vztmpl" in rig.ok("pve1", "pvesh get /storage/local")


def test_the_host_of_a_download_is_one_that_the_sandbox_plays(rig: Rig) -> None:
    elsewhere = FETCH.replace(mirror.HOST, "example.org")
    assert "unable to resolve or fetch" in rig.run("pve1", f"{elsewhere} --filename a.qcow2").err
