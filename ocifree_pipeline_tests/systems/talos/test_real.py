"""talosctl itself judges what was written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ocifree_pipeline.systems.talos.configuration import log_receiver, machine_configuration
from ocifree_pipeline.systems.talos.nodes import Role
from ocifree_pipeline.systems.talos.secrets import Bundle, as_file
from ocifree_pipeline_tests.systems.talos.test_configuration import ADDRESS, ENDPOINT, V1_13, V1_14, cluster, node

pytestmark = [
    pytest.mark.real("talosctl"),
    pytest.mark.skipif(shutil.which("talosctl") is None, reason="needs talosctl on the PATH"),
]


def _talosctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["talosctl", *words], capture_output=True, text=True, timeout=60, check=False)


def _minor() -> int:
    said = _talosctl("version", "--client", "--short").stdout
    found = re.search(r"v1\.(\d+)\.", said)
    assert found, said
    return int(found.group(1))


@pytest.mark.parametrize("versions", [V1_13, V1_14], ids=["1.13", "1.14"])
@pytest.mark.parametrize("role", ["controlplane", "worker"])
@pytest.mark.parametrize("has_workers", [False, True])
def test_talosctl_takes_it(
    bundle: Bundle, versions: tuple[str, str], role: Role, has_workers: bool, tmp_path: Path
) -> None:
    made = cluster(versions, has_workers=has_workers, external_cloud_provider=True)
    if made.talos_minor > _minor():
        pytest.skip(f"this talosctl knows Talos up to 1.{_minor()}")
    one = node(role, address=ADDRESS, time_servers=("169.254.169.254",))
    text = machine_configuration(made, one, bundle, log_receiver("udp://10.0.0.9:6050"))
    file = tmp_path / "machine.yaml"
    file.touch(0o600)
    file.write_text(text.get_secret_value())
    for mode in ("cloud", "metal"):
        judged = _talosctl("validate", "--config", str(file), "--mode", mode)
        assert judged.returncode == 0, judged.stderr


def test_talosctl_takes_the_secrets(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "secrets.yaml"
    file.touch(0o600)
    file.write_text(as_file(bundle).get_secret_value())
    out = tmp_path / "out"
    made = _talosctl("gen", "config", "lab", ENDPOINT, "--with-secrets", str(file), "--output-dir", str(out))
    assert made.returncode == 0, made.stderr
    assert bundle.trustd_token in (out / "worker.yaml").read_text()
