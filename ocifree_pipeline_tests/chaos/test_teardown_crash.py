"""The end of a whole deployment, killed at every call that changes something, before it and after it."""

from __future__ import annotations

from pathlib import Path

from ocifree_pipeline_tests.chaos.crash import crash_everywhere
from ocifree_pipeline_tests.chaos.test_foundation_crash import start
from ocifree_pipeline_tests.systems.oci.foundation.conftest import blueprint, spec
from ocifree_pipeline_tests.systems.oci.furnished import furnish, teardown, what_is_there
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

__all__ = ["blueprint", "spec"]


def test_nothing_is_left_whenever_the_process_dies(tmp_path: Path, blueprint, spec) -> None:
    def furnished(here: Tenancy) -> None:
        furnish(here, blueprint, spec)

    with start(tmp_path, furnished) as here:
        crash_everywhere(here.again, lambda tenancy: teardown(tenancy).run(), what_is_there, at_least=18)
