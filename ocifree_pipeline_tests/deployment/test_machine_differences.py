"""What differs on a machine that stands, and what is said of it: nothing scarce is given up for what can be mended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ocifree_pipeline.deployment.machine_differences import Declared, Standing, differences, newer_image
from ocifree_pipeline.deployment.plan import A1_SHAPE, Machine

MACHINE = Machine("ampere_1", A1_SHAPE, 2, 12, 97, "lFyo:UK-LONDON-1-AD-1")
KEYS = frozenset({"ssh-ed25519 AAAA me"})
LINUX = Declared(MACHINE, "ocid1.image.now", "I2Nsb3VkLWNvbmZpZw==", KEYS)
TALOS = Declared(MACHINE, "ocid1.image.now", user_data=None, ssh_public_keys=None)
STANDING = Standing("ocid1.instance.a", A1_SHAPE, 2.0, 12.0, "ocid1.image.now", "I2Nsb3VkLWNvbmZpZw==", KEYS)
OLDER = replace(STANDING, image="ocid1.image.before", user_data="b2xkZXI=")


@pytest.mark.parametrize(
    ("declared", "standing", "said"),
    [
        (LINUX, STANDING, []),
        (LINUX, replace(STANDING, image="ocid1.image.before"), []),
        (LINUX, OLDER, ["make the change on the machine itself"]),
        (LINUX, replace(OLDER, ssh_public_keys=frozenset()), ["~/.ssh/authorized_keys"]),
        (LINUX, replace(STANDING, ocpus=1.0), ["oci compute instance update"]),
        (LINUX, replace(STANDING, shape="VM.Standard.E2.1.Micro"), ["oci compute instance terminate"]),
        (TALOS, replace(OLDER, ssh_public_keys=frozenset()), []),
    ],
)
def test_what_is_said(declared: Declared, standing: Standing, said: list[str]) -> None:
    found = list(differences(declared, standing))
    assert len(found) == len(said)
    assert all(part in line for line, part in zip(found, said, strict=True))


def test_the_risk_comes_before_the_command() -> None:
    (line,) = differences(LINUX, replace(STANDING, shape="VM.Standard.E2.1.Micro"))
    assert line.index("capacity") < line.index("terminate")


def test_a_newer_image_is_named_where_images_are_ours() -> None:
    assert newer_image(TALOS, OLDER) == newer_image(LINUX, OLDER) == "ocid1.image.now"
    assert newer_image(LINUX, STANDING) is None
    assert newer_image(replace(LINUX, image=None), OLDER) is None
