"""What every step would do again at its start, done once in the process that steps are forked from."""

from __future__ import annotations

import gc
import importlib

from ocifree_pipeline.definitions import defs

for module in (
    "dagster._cli",  # a forked step imports the main module of the run again, and that is Dagster's command
    "dagster._core.storage.sqlite_storage",  # with SQLAlchemy and Alembic
    "dagster._core.storage.local_compute_log_manager",
    "grpclib.client",
    "jinja2",
    "kubernetes.client.api.core_v1_api",
    "oci.core",
    "oci.identity",
    "oci.limits",
    "oci.object_storage",
    "oci.pagination",
    "oci.work_requests",
    "paramiko",
    "requests",
    "upath",  # of the resource for files that Dagster gives to every step
):
    importlib.import_module(module)

defs.get_repository_def().get_all_jobs()
gc.freeze()  # A step that looks through all of this for garbage copies all of it.
