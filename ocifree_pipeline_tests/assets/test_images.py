"""From a declaration to an image that Oracle starts: real downloads, uploads and imports through the proxy door."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import oci
import pytest
import yaml

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.image_hosts import mirror
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.packer import template
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running
from ocifree_pipeline_tests.systems.images import disks
from ocifree_pipeline_tests.systems.images.test_identity import CLEAN, MKFS, ext4
from ocifree_pipeline_tests.systems.packer.conftest import install, well

KEYS = ["images/base_hardened_amd64", "images/proxmox_ampere", "images/talos_nocloud"]
CUSTOM = ["oci/custom_image/base_hardened_amd64", "oci/custom_image/proxmox_ampere"]
MIRRORED = ("base_hardened_amd64", "proxmox_ampere")
BUCKET = "lab-images"

Begin = Callable[..., Deployment]


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Iterator[RunningSandbox]:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    profile = Profile(account=getattr(request, "param", "payg"), a1_ocpus=4, a1_memory_gb=24)
    with running(folder, profile=profile) as here:
        assert here.sandbox.home is not None
        for name, value in {
            "DAGSTER_HOME": str(tmp_path / "home"),
            "HTTPS_PROXY": f"http://127.0.0.1:{here.sandbox.proxy_port}",
            "REQUESTS_CA_BUNDLE": str(here.sandbox.home.ca_file),
            "NO_PROXY": "localhost,127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        really = time.sleep

        def sleep(seconds: float) -> None:
            if threading.current_thread() is threading.main_thread():
                here.advance(seconds)
            else:
                really(seconds)

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr("ocifree_pipeline.record.definition.RETRY_SECONDS", 0)
        yield here


@pytest.fixture
def begin(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Begin]:
    """A deployment as the demo declares it, changed by the test; one history for all declarations of a test."""
    config = tmp_path / "oci.cfg"
    config.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in sandbox.config.items()))
    with dg.DagsterInstance.ephemeral() as instance:

        def make(topology: str = "proxmox-ceph", **images: Any) -> Deployment:
            data = yaml.safe_load(example(topology))
            data["site"]["credentials"] = {"config_file": str(config)}
            data["images"] = {name: {"prebuilt": asdict(mirror.offered()[name])} for name in MIRRORED} | images
            return Deployment(sandbox, blueprint_of(parse(yaml.safe_dump(data))), instance)

        yield make


@pytest.fixture
def lab(begin: Begin, sandbox: RunningSandbox) -> Deployment:
    """With its compartment and bucket, and the bucket's asset pretended: another group makes it."""
    lab = begin()
    identity, store = (
        sandbox.client(kind) for kind in (oci.identity.IdentityClient, oci.object_storage.ObjectStorageClient)
    )
    details = oci.identity.models.CreateCompartmentDetails(compartment_id=sandbox.tenancy, name="lab", description="d")
    compartment = identity.create_compartment(details).data.id
    sandbox.advance(60)
    namespace = store.get_namespace().data
    bucket = oci.object_storage.models.CreateBucketDetails(name=BUCKET, compartment_id=compartment)
    store.create_bucket(namespace, bucket)
    lab.pretend("oci/image_bucket", namespace=namespace, bucket=BUCKET)
    sandbox.recorder.clear()
    return lab


def objects(lab: Deployment) -> list[str]:
    return lab.sandbox.inside(lambda world: [name for b in world.all("bucket") for name in b.hidden["objects"]])


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str, str]]:
    return {
        f"{one.asset_key.to_user_string()}:{one.check_name}": (one.passed, one.severity.value, one.description or "")
        for one in result.get_asset_check_evaluations()
    }


def test_everything_up_to_images_that_oracle_starts_and_nothing_the_second_time(lab):
    result = lab.materialize(*KEYS, *CUSTOM)
    told = verdicts(result)
    assert told["oci/custom_image/proxmox_ampere:firmware_uefi"] == (True, "ERROR", "UEFI_64")
    assert told["images/proxmox_ampere:size_budget"][0]
    assert told["images/talos_nocloud:identity_clean"][0]
    assert "does not apply" in told["images/talos_nocloud:identity_clean"][2]
    assert told["images/proxmox_ampere:identity_clean"][:2] == (False, "WARN")
    assert "made elsewhere" in told["images/proxmox_ampere:hardened"][2]
    offered = mirror.offered()["proxmox_ampere"]
    file, image = lab.facts("images/proxmox_ampere"), lab.facts("oci/custom_image/proxmox_ampere")
    assert file["sha256"] == image["sha256"] == offered.sha256
    assert hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest() == offered.sha256
    assert (image["firmware"], image["shapes"]) == ("UEFI_64", ["VM.Standard.A1.Flex"])
    assert lab.facts("oci/custom_image/base_hardened_amd64")["shapes"] == ["VM.Standard.E2.1.Micro"]
    assert objects(lab) == []
    assert lab.metadata("images/proxmox_ampere")["bytes fetched"] > 0

    before, versions = lab.mutations(), [lab.facts(key) for key in (*KEYS, *CUSTOM)]
    lab.materialize(*KEYS, *CUSTOM)
    assert lab.mutations() == before
    assert [lab.facts(key) for key in (*KEYS, *CUSTOM)] == versions
    for key in (*KEYS, *CUSTOM):
        assert lab.metadata(key)["plan"] == "nothing to do"
    assert lab.sandbox.recorder.count(service="imagemirror") == 2
    assert lab.sandbox.recorder.count(service="imagefactory", mutating=True) == 1


def test_a_talos_image_says_on_what_ground_it_is_trusted(lab):
    lab.materialize("images/talos_nocloud")
    assert "trusted on first use" in str(lab.metadata("images/talos_nocloud")["evidence"])
    assert "factory.talos.dev" in lab.metadata("images/talos_nocloud")["source"]


def test_a_lost_disk_is_fetched_again_and_imports_nothing(lab):
    lab.materialize("images/proxmox_ampere", "oci/custom_image/proxmox_ampere")
    Path(lab.facts("images/proxmox_ampere")["path"]).unlink()
    imports = lab.sandbox.recorder.count(operation="CreateImage")
    lab.materialize("images/proxmox_ampere", "oci/custom_image/proxmox_ampere")
    assert lab.sandbox.recorder.count(operation="CreateImage") == imports


def test_a_changed_digest_is_imported_and_offered_and_no_machine_is_touched(lab, begin, monkeypatch):
    lab.materialize("images/proxmox_ampere", "oci/custom_image/proxmox_ampere")
    old = lab.facts("oci/custom_image/proxmox_ampere")["ocid"]
    compartment = lab.sandbox.inside(lambda world: world.get("image", old).body["compartmentId"])
    body = {"displayName": "lab-ampere-1", "imageId": old, "lifecycleState": "RUNNING", "compartmentId": compartment,
            "availabilityDomain": "x", "region": "uk-london-1", "shape": "VM.Standard.A1.Flex"}  # fmt: skip
    lab.sandbox.inside(lambda world: world.add("instance", body))
    renewed = make_qcow2(("aarch64",), label="proxmox-root", identity="renewed")
    monkeypatch.setattr(mirror, "_disk", lambda name: renewed)
    digest = hashlib.sha256(renewed).hexdigest()
    url = mirror.offered()["proxmox_ampere"].url
    changed = begin(proxmox_ampere={"prebuilt": {"url": url, "sha256": digest}})
    calls = lab.sandbox.recorder.total
    changed.materialize("images/proxmox_ampere", "oci/custom_image/proxmox_ampere")
    facts, metadata = (
        changed.facts("oci/custom_image/proxmox_ampere"),
        changed.metadata("oci/custom_image/proxmox_ampere"),
    )
    assert (facts["sha256"], facts["ocid"] != old) == (digest, True)
    assert "lab-ampere-1 still on an older image, left as they are" in metadata["summary"]
    assert metadata["machines on older images"] == 1
    assert lab.sandbox.inside(lambda world: world.get("image", old).state) == "AVAILABLE"
    touched = {e.operation for e in list(lab.sandbox.recorder)[calls:] if e.mutating}
    assert touched == {"PutObject", "CreateImage", "AddImageShapeCompatibilityEntry", "DeleteObject"}


def test_an_image_with_bios_is_caught_and_mended_in_place(lab):
    """The trap of every guide: imported without UEFI, it would run and never start."""
    lab.materialize("images/proxmox_ampere", "oci/custom_image/proxmox_ampere")
    ocid = lab.facts("oci/custom_image/proxmox_ampere")["ocid"]
    lab.sandbox.inside(lambda world: world.get("image", ocid).body["launchOptions"].update(firmware="BIOS"))
    told = check(lab, "oci/custom_image/proxmox_ampere", "firmware_uefi")
    assert told[0] is False
    assert "A1 starts nothing but UEFI_64" in told[2]
    assert "ocifree up --select 'oci/custom_image/proxmox_ampere'" in told[2]
    mended = lab.materialize("oci/custom_image/proxmox_ampere")
    assert verdicts(mended)["oci/custom_image/proxmox_ampere:firmware_uefi"][0]
    assert lab.facts("oci/custom_image/proxmox_ampere")["ocid"] == ocid


def test_uploads_stay_where_that_was_declared(begin, lab):
    kept = begin(keep_uploads=True)
    kept.materialize("images/proxmox_ampere", "oci/custom_image/proxmox_ampere")
    assert len(objects(kept)) == 1
    lab.materialize("oci/custom_image/proxmox_ampere")
    assert objects(lab) == []


@pytest.mark.parametrize("sandbox", ["free"], indirect=True)
def test_an_account_without_custom_images_uploads_nothing(lab):
    lab.materialize("images/proxmox_ampere")
    failed = lab.errors(lab.materialize("oci/custom_image/proxmox_ampere", good=False))
    (error,) = failed.values()
    assert error["error"] == "LimitReached"
    assert "Pay As You Go" in error["why"]
    assert "platform" in error["fix"]
    assert lab.sandbox.recorder.count(service="objectstorage", mutating=True) == 0


def test_a_full_account_is_noticed_before_the_upload(lab, monkeypatch):
    lab.materialize("images/proxmox_ampere")
    nothing_free = SimpleNamespace(limits_for=lambda account: {Resource.OBJECT_STORAGE_GB: 0})
    monkeypatch.setattr("ocifree_pipeline.assets.images.allowance", lambda name: nothing_free)
    failed = lab.errors(lab.materialize("oci/custom_image/proxmox_ampere", good=False))
    (error,) = failed.values()
    assert (error["error"], "free object storage" in error["what"]) == ("LimitReached", True)
    assert lab.sandbox.recorder.count(operation="PutObject") == 0


def test_an_image_that_changed_on_the_disk_is_not_uploaded(lab):
    lab.materialize("images/proxmox_ampere")
    Path(lab.facts("images/proxmox_ampere")["path"]).write_bytes(b"something else")
    failed = lab.errors(lab.materialize("oci/custom_image/proxmox_ampere", good=False))
    (error,) = failed.values()
    assert (error["error"], error["fix"]) == ("PreconditionMissing", "ocifree up --select 'images/proxmox_ampere'")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (make_qcow2(("x86_64",), boot_code=True), "does not start on arm64"),
        (b"KDMV" + bytes(1000), "is a VMDK image"),
        (b"<html>", "is a web page"),
    ],
)
def test_a_file_that_would_not_start_is_refused_before_the_upload(begin, lab, monkeypatch, content, says):
    monkeypatch.setattr(mirror, "_disk", lambda name: content)
    prebuilt = {"url": mirror.offered()["proxmox_ampere"].url, "sha256": hashlib.sha256(content).hexdigest()}
    failed = lab.errors(begin(proxmox_ampere={"prebuilt": prebuilt}).materialize("images/proxmox_ampere", good=False))
    (error,) = failed.values()
    assert says in error["what"]
    assert error["fix"]


@pytest.mark.parametrize(
    ("operation", "moment"), [("PutObject", "reset"), ("CreateImage", "after"), ("DeleteObject", "before")]
)
def test_a_passing_fault_is_got_over_by_itself_with_one_image(lab, operation, moment):
    lab.materialize("images/proxmox_ampere")
    lab.sandbox.faults.add(Rule(operation=operation, moment=moment, times=1))
    lab.materialize("oci/custom_image/proxmox_ampere")
    assert len(lab.sandbox.faults.fired) == 1
    images = lab.sandbox.inside(lambda world: [one.state for one in world.all("image") if not one.gone])
    assert (images, objects(lab)) == (["AVAILABLE"], [])


@pytest.mark.real("mkfs.ext4")
@pytest.mark.skipif(MKFS is None, reason="needs mkfs.ext4 (Debian: e2fsprogs)")
@pytest.mark.parametrize("left", [{}, {"etc/ssh/ssh_host_rsa_key": b"k"}])
def test_traces_of_a_first_boot_are_found_in_a_real_file_system(begin, lab, monkeypatch, tmp_path, left):
    esp, system = disks.fat(12, {"BOOT": ["BOOTAA64.EFI"]}), ext4(tmp_path, CLEAN | left)
    start = 64 + len(esp) // 512 + 1
    parts = [(disks.ESP, "EFI", 64, esp), (disks.LINUX, "root", start, system)]
    content = disks.of_disk(disks.gpt(parts, start + len(system) // 512 + 64), packed=True)
    monkeypatch.setattr(mirror, "_disk", lambda name: content)
    prebuilt = {"url": mirror.offered()["proxmox_ampere"].url, "sha256": hashlib.sha256(content).hexdigest()}
    image = begin(proxmox_ampere={"prebuilt": prebuilt})
    told = verdicts(image.materialize("images/proxmox_ampere", good=False))["images/proxmox_ampere:identity_clean"]
    assert told[:2] == (not left, "ERROR")
    assert ("/etc/ssh/ssh_host_rsa_key" if left else "nothing of a first boot in root") in told[2]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that play Packer and QEMU, first on the PATH."""
    folder = tmp_path / "programs"
    install(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("OCIFREE_ACCELERATOR", "tcg")
    monkeypatch.setattr("ocifree_pipeline.systems.packer.building.probe", well)
    monkeypatch.setenv("OCIFREE_FIRMWARE_CODE", str(folder / "code.fd"))
    monkeypatch.setenv("OCIFREE_FIRMWARE_VARS", str(folder / "vars.fd"))
    monkeypatch.setattr("ocifree_pipeline.systems.packer.building.ROOM_GB", dict.fromkeys(template.ROOM_GB, 0))
    return folder


def built_from(name: str, **checksum: str) -> dict[str, Any]:
    """A build that starts from what the mirror of the sandbox offers."""
    offered = mirror.offered()[name]
    return {"build": {"source": {"url": offered.url, **(checksum or {"sha256": offered.sha256})}}}


def test_a_packer_build_needs_a_source(begin, lab):
    built = begin(base_hardened_amd64={"build": {"debian": 12}})
    failed = lab.errors(built.materialize("images/base_hardened_amd64", good=False))
    (error,) = failed.values()
    assert error["what"] == "images/base_hardened_amd64 has nothing to start from"
    assert "Debian 12's" in error["fix"]


def test_a_packer_build_is_an_image_like_any_other_and_is_built_once(begin, lab, programs):
    key = "images/base_hardened_amd64"
    built = begin(base_hardened_amd64=built_from("base_hardened_amd64"))
    told = verdicts(built.materialize(key, "oci/custom_image/base_hardened_amd64"))
    assert told[f"{key}:hardened"] == (True, "ERROR", "a machine from it gave 1 good answers")
    facts, metadata = built.facts(key), built.metadata(key)
    assert hashlib.sha256(Path(facts["path"]).read_bytes()).hexdigest() == facts["sha256"]
    assert facts["source"] == mirror.offered()["base_hardened_amd64"].url
    assert (metadata["packages"], metadata["plan"]) == (2, f"- build base_hardened_amd64 from {facts['source']}")
    assert "phase: ssh" in str(metadata["evidence"])
    assert built.facts("oci/custom_image/base_hardened_amd64")["sha256"] == facts["sha256"]
    (programs / "packer").unlink()
    built.materialize(key)
    record = Path(facts["path"]).with_suffix(".json")
    record.write_text(record.read_text().replace('"good": true', '"good": false'))
    assert "publickey" in check(built, key, "hardened")[2]
    record.unlink()
    assert check(built, key, "hardened")[0] is False
    assert (built.facts(key), built.metadata(key)["plan"]) == (facts, "nothing to do")


def test_proxmox_is_built_on_the_base_that_was_recorded(begin, lab, programs):
    keys = ["images/base_hardened_arm64", "images/proxmox_ampere"]
    built = begin(base_hardened_arm64=built_from("base_hardened_arm64"), proxmox_ampere={"build": {}})
    built.materialize(*keys)
    base, proxmox = (built.facts(key) for key in keys)
    assert (proxmox["source"], base["path"] != proxmox["path"]) == ("images/base_hardened_arm64", True)
    record = json.loads(Path(proxmox["path"]).with_suffix(".json").read_text())
    assert record["variables"]["source_checksum"] == f"sha256:{base['sha256']}"
    Path(base["path"]).write_bytes(b"changed")
    (error,) = built.errors(built.materialize("images/proxmox_ampere", good=False)).values()
    assert error["error"] == "PreconditionMissing"
    assert "images/base_hardened_arm64" in error["fix"]


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_a_source_of_another_digest_is_thrown_away(begin, lab, programs, tmp_path, kind):
    digest = "0" * (int(kind[3:]) // 4)
    built = begin(base_hardened_amd64=built_from("base_hardened_amd64", **{kind: digest}))
    (error,) = built.errors(built.materialize("images/base_hardened_amd64", good=False)).values()
    assert error["error"] == "NotVerified"
    assert f"its SHA-{kind[3:]} checksum is" in error["why"]
    assert not list((tmp_path / "home" / "images").glob("source-*.qcow2"))
    assert not (programs / "calls.jsonl").exists()


def test_an_image_of_oracles_own_is_named_and_not_stored(begin, lab):
    platform = begin(base_hardened_amd64={"platform": {"operating_system": "Canonical Ubuntu", "version": "24.04"}})
    result = platform.materialize("images/base_hardened_amd64")
    facts = platform.facts("images/base_hardened_amd64")
    assert (facts["name"], facts["shape"]) == ("Canonical-Ubuntu-24.04-2026.09.30-0", "VM.Standard.E2.1.Micro")
    assert all(passed for passed, _, _ in verdicts(result).values())
    unknown = begin(base_hardened_amd64={"platform": {"operating_system": "Oracle Linux", "version": "7"}})
    (error,) = lab.errors(unknown.materialize("images/base_hardened_amd64", good=False)).values()
    assert "Oracle offers no Oracle Linux 7" in error["what"]


def test_the_budget_is_for_each_and_for_all(begin, lab):
    lab.materialize(*KEYS)
    sizes = itertools.chain([9_999_999_999], itertools.repeat(10_000_000_000))
    path = Path(lab.facts("images/proxmox_ampere")["path"])
    with path.open("r+b") as file:
        file.truncate(next(sizes))
    assert check(lab, "images/proxmox_ampere", "size_budget")[0]
    tight = begin(max_gb=9)
    assert "10.00 GB, and 9 GB are allowed" in check(tight, "images/proxmox_ampere", "size_budget")[2]
    tight = begin(max_gb=10, total_gb=10)
    with path.open("r+b") as file:
        file.truncate(next(sizes))
    assert "all images have 10.00 GB" in check(tight, "images/talos_nocloud", "size_budget")[2]


def check(lab: Deployment, key: str, name: str) -> tuple[bool, str, str]:
    """One check by itself, without its asset."""
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(key.split("/")), name))
    job = dg.define_asset_job("one_check", selection=selection)
    picked = dg.Definitions(assets=lab.definitions.assets, asset_checks=lab.definitions.asset_checks, jobs=[job])
    result = picked.resolve_job_def("one_check").execute_in_process(instance=lab.instance, raise_on_error=False)
    return verdicts(result)[f"{key}:{name}"]
