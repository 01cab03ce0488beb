"""What a person sees and clicks: the lineage, an asset, a failed run and the way back to green, a sensor, a check."""

from __future__ import annotations

import pytest

from ocifree_pipeline_tests.ui.page import LOCATION, Page

pytestmark = [pytest.mark.ui, pytest.mark.timeout(900)]

GROUPS = ("tenancy", "foundation", "images", "machines", "kubernetes", "platform", "monitoring", "assurance")


def test_the_lineage_shows_what_stands_and_what_failed(page: Page) -> None:
    page.open("/asset-groups", "Materialize all", *GROUPS, width=2400, height=1900)  # only what is in sight is drawn
    page.click("Hide navigation")
    page.press_alt("e")
    page.reads("image_bucket", "machine_config_1", "kubeconfig", "gateway", "alert_rules", "cost_report")
    page.rest()
    page.picture("lineage")
    page.click_icon("panel_show_left")
    page.reads("Hide navigation")


def test_an_asset_says_how_it_stands_where_to_look_and_what_changed(page: Page) -> None:
    page.open("/assets/monitoring/alloy", "Metadata", "series planned", "look inside", "evidence", height=2000)
    page.reads("kube_pod_status_phase")  # a row of the evidence, in its place and not behind a link
    text = page.text()
    order = [text.index(f"\n{word}\n") for word in ("summary", "look inside", "series planned", "evidence", "plan")]
    assert order == sorted(order), "how it stands comes first"
    assert "Kubernetes" in text
    assert "Grafana" in text
    page.rest()
    page.picture("asset")


def test_numbers_are_plotted_over_time(page: Page) -> None:
    page.open("/assets/assurance/cost_report", "Metadata", "days proven at zero", height=1400)
    page.click("Plots")
    page.reads("days proven at zero", "days still open", "cost of the youngest closed day")
    page.rest()
    page.picture("plots")


def test_a_failed_run_says_why_and_what_to_type(page: Page) -> None:
    page.open("/runs", "Failure")
    page.click("Failed")
    page.lacks("Success")
    page.follow("/runs/")
    page.write("Filter", "type:STEP_FAILURE")
    page.lacks("RUN_FAILURE")
    page.reads("why: the key, user or fingerprint is not known to Oracle", "fix: `ocifree doctor`", "AuthFailed")
    page.rest()
    page.picture("failed_run")


def test_a_failed_asset_is_made_green_with_clicks_alone(page: Page) -> None:
    """Found in the lineage, materialized, waited for, and looked at again."""
    page.open("/asset-groups", "Materialize all", width=1900)
    page.write("Jump to", "image_bucket")
    page.click("image_bucket")
    page.reads("oci / image_bucket", "failed, and did not materialize this asset", "The bucket through which images")
    page.rest()
    page.picture("failed_asset")
    page.click("Materialize selected", tag="button")
    page.reads("Launched run")
    page.click("View")
    page.reads("Success", "ASSET_MATERIALIZATION")
    page.open("/assets/oci/image_bucket", "Latest materialization", "nothing to do")
    page.lacks("Failed")


def test_a_sensor_says_what_it_saw(page: Page) -> None:
    page.open(f"{LOCATION}/sensors/instance_watch", "Looks after claimed machines")
    page.click("0 runs requested", tag="button")
    page.reads("Skip reason: ampere_1: answers; bastion: answers")
    page.rest()
    page.picture("sensor")


def test_a_check_says_what_it_proves_and_found(page: Page) -> None:
    page.open("/assets/tenancy/guardrails?view=checks", "blocking")
    page.click("quota_refuses_paid")
    page.reads("Oracle refuses a paid shape", "nothing of a paid shape is given", "Passed", "Oracle would give")


def test_what_runs_by_itself_is_listed_with_its_state(page: Page) -> None:
    page.open("/automation", "capacity_hunt_a1", "daily_drift", "instance_watch", "notify_failure")


def test_every_operation_is_a_job(page: Page) -> None:
    page.open(f"{LOCATION}/jobs", "deploy", "verify", "drift", "destroy", "restore_drill", "upgrade_talos")
