"""The lineage in a browser: every asset is drawn, and the picture in the README is what a person sees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ui, pytest.mark.timeout(300)]

PICTURES = Path(__file__).parent.parent.parent / "docs" / "images"


def text_of(browser: Any) -> str:
    from selenium.webdriver.common.by import By

    return str(browser.find_element(By.TAG_NAME, "body").text)


def wait_for_text(browser: Any, *parts: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda driver: all(part in text_of(driver) for part in parts))


def picture(browser: Any, name: str, tmp_path: Path) -> Path:
    """Kept beside the docs when asked to, else thrown away with the test."""
    folder = PICTURES if os.environ.get("UPDATE_PICTURES") else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.png"
    assert browser.save_screenshot(str(target))
    assert target.stat().st_size > 20_000, "an empty page"
    return target


def expand_all(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    ActionChains(browser).key_down(Keys.ALT).send_keys("e").key_up(Keys.ALT).perform()


def test_the_lineage_shows_every_group_and_every_asset(ui: str, browser: Any, tmp_path: Path) -> None:
    browser.get(f"{ui}/asset-groups")
    groups = ("tenancy", "foundation", "images", "machines", "proxmox", "kubernetes", "platform", "monitoring")
    wait_for_text(browser, *groups)
    picture(browser, "groups", tmp_path)
    browser.set_window_size(2400, 2600)  # only what is in sight is drawn
    expand_all(browser)
    wait_for_text(browser, "ampere_3", "ceph_pool", "kubeconfig", "alloy")
    picture(browser, "lineage", tmp_path)
