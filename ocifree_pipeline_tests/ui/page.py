"""What a person does with a page: open it, read, click, wait, keep a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).parent.parent.parent / "docs" / "images"
PATIENCE = 120
LOCATION = "/locations/__repository__@ocifree_pipeline.definitions"


@dataclass(frozen=True, slots=True)
class Page:
    address: str
    browser: Any
    tmp_path: Path

    def open(self, path: str, *parts: str, width: int = 1500, height: int = 1100) -> None:
        self.browser.set_window_size(width, height)
        self.browser.get(self.address + path)
        self.reads(*parts)

    def reads(self, *parts: str) -> None:
        """All of it stands on the page, now or soon."""
        missing: list[str] = []

        def there(_: Any) -> bool:
            text = self.text()
            missing[:] = [part for part in parts if part not in text]
            return not missing

        self._until(there, lambda: f"{missing} is not on the page:\n{self.text()[:3000]}")

    def lacks(self, part: str) -> None:
        self._until(lambda _: part not in self.text(), lambda: f"{part} is still on the page:\n{self.text()[:3000]}")

    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def click(self, *words: str, tag: str = "*") -> None:
        """What shows exactly these words, or contains them if it is named by its tag; the last of several."""
        each = [f"contains(., {word!r})" if tag != "*" else f"text()={word!r}" for word in words]
        self._click(f"//{tag}[{' or '.join(each)}]")

    def _click(self, path: str) -> None:
        def clicked(driver: Any) -> bool:
            found = [one for one in driver.find_elements("xpath", path) if one.is_displayed()]
            if found:
                found[-1].click()
            return bool(found)

        self._until(clicked, lambda: f"nobody can click {path}:\n{self.text()[:3000]}")

    def click_icon(self, name: str) -> None:
        self._click(f"//*[@aria-label={name!r}]")

    def follow(self, link: str) -> None:
        """The first link to such a page."""
        self._click(f"(//a[contains(@href, {link!r})])[1]")

    def write(self, field: str, words: str) -> None:
        path = f"//input[contains(@placeholder, {field!r})]"
        self._click(path)
        self.browser.find_element("xpath", path).send_keys(words)

    def press_alt(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.browser).key_down(Keys.ALT).send_keys(key).key_up(Keys.ALT).perform()

    def rest(self) -> None:
        """Until two looks show the same: what slides or fades has arrived."""
        before = [b""]

        def still(driver: Any) -> bool:
            now = driver.get_screenshot_as_png()
            before[0], same = now, now == before[0]
            return bool(same)

        self._until(still, lambda: "the page never comes to rest", every=1.0, patience=8, needed=False)

    def picture(self, name: str) -> None:
        """Kept beside the docs when asked to, else thrown away with the test."""
        folder = PICTURES if os.environ.get("UPDATE_PICTURES") else self.tmp_path
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{name}.png"
        assert self.browser.save_screenshot(str(target))
        assert target.stat().st_size > 20_000, "an empty page"

    def _until(
        self,
        done: Callable[[Any], Any],
        why: Callable[[], str],
        *,
        every: float = 0.5,
        patience: float = PATIENCE,
        needed: bool = True,
    ) -> None:
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            StaleElementReferenceException,
            TimeoutException,
        )
        from selenium.webdriver.support.ui import WebDriverWait

        passing = (StaleElementReferenceException, ElementClickInterceptedException)
        try:
            WebDriverWait(self.browser, patience, every, ignored_exceptions=passing).until(done)
        except TimeoutException:
            if needed:
                raise AssertionError(why()) from None
