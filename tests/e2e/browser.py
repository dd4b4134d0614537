"""Airflow's pages in a headless Chromium, as a person uses them. Every wait asks for a condition."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.e2e.conftest import Running

PROGRAMS = ("chromium", "chromedriver")
#: Nothing that asks the network by itself; without a sandbox of its own, which root may not have.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)
PAGE_SECONDS = 300.0
Found = TypeVar("Found")
SUBMIT = "[data-testid=trigger-dag-submit]"


def missing() -> list[str]:
    """Programs that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Browser:
    """A Chromium that is logged in as the stack's user; a `with` block ends it. A wait in vain leaves `in-vain.png`."""

    def __init__(self, stack: Running, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
            options.add_argument(flag)
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        with patch.dict(os.environ, no_proxy="localhost"):  # that is where the driver listens
            self.driver: WebDriver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(PAGE_SECONDS)
        self.driver.get(stack.api.url)
        for name, text in (("username", stack.secrets.user), ("password", stack.secrets.password)):
            self.until(lambda page, name=name, text=text: _written(page.find_element(By.NAME, name), text), name)
        self.click("button[type=submit]")
        self.until(lambda page: not page.find_elements(By.NAME, "password"), "the page behind the login")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def until(self, condition: Callable[[WebDriver], Found], what: str) -> Found:
        """Ask the page until there is an answer.

        Whatever the driver says meanwhile passes: React replaces an element while it is looked at, a message covers it,
        the page goes elsewhere.
        """
        waiting = WebDriverWait(self.driver, PAGE_SECONDS, ignored_exceptions=[WebDriverException])
        try:
            return waiting.until(condition, what)
        except TimeoutException:
            self.screenshot(self.folder / "in-vain.png")
            raise

    def screenshot(self, path: Path) -> None:
        """Keep what is on the screen as a PNG."""
        self.driver.save_screenshot(str(path))

    def open_form(self, dag_id: str, titles: Iterable[str]) -> None:
        """The trigger form of a DAG, once it shows the fields with these titles."""
        self.driver.get(f"{self.stack.api.url}/dags/{dag_id}")
        self.click("[data-testid=trigger-dag-button]")
        for title in titles:
            self.until(lambda page, title=title: page.find_element(*_field(title)).is_displayed(), f"the field {title}")

    def click(self, selector: str) -> None:
        """Click what a CSS selector names, once it can be clicked."""
        self.until(lambda page: _clicked(page.find_element(By.CSS_SELECTOR, selector)), selector)

    def fill(self, name: str, text: str) -> None:
        """Write into the text field of a param, instead of what it holds."""
        # The click moves the pointer too: while it is on a message of Airflow, that stays, and covers the button.
        self.click(f"[name=element_{name}]")
        place = self.driver.find_element(By.NAME, f"element_{name}")
        place.send_keys(Keys.CONTROL, "a")
        place.send_keys(text)
        self.until(lambda page: page.find_element(By.NAME, f"element_{name}").get_attribute("value") == text, text)

    def pick_time(self, title: str, date: str, time: str) -> None:
        """Write a date (2026/01/31) and a time (06:00) into a field that has a calendar."""
        self.until(
            lambda page: _clicked(page.find_element(*_field(title, "//*[@data-testid='datetime-input']"))), title
        )
        for hint, text in (("YYYY/MM/DD", date), ("HH:mm", time)):
            where = (By.XPATH, f"//input[@placeholder='{hint}']")
            place = self.until(lambda page, where=where: page.find_element(*where), hint)
            place.send_keys(Keys.CONTROL, "a")
            place.send_keys(text)
            self.until(lambda _, place=place, text=text: place.get_attribute("value") == text, text)
        place.send_keys(Keys.ESCAPE)

    def submit(self) -> None:
        """Press the form's Trigger."""
        self.click(SUBMIT)

    def form_is_closed(self) -> bool:
        """Whether Airflow has taken the form."""
        return not self.driver.find_elements(By.CSS_SELECTOR, SUBMIT)

    def text(self) -> str:
        """All that the page shows."""
        return self.driver.find_element(By.TAG_NAME, "body").text


def _field(title: str, inside: str = "") -> tuple[str, str]:
    return By.XPATH, f"//*[@role='group'][.//label[starts-with(normalize-space(), '{title}')]]{inside}"


def _written(element: WebElement, text: str) -> bool:
    element.clear()
    element.send_keys(text)
    return element.get_attribute("value") == text


def _clicked(element: WebElement) -> bool:
    if not (element.is_displayed() and element.is_enabled()):
        return False
    try:
        element.click()
    except WebDriverException as error:
        if "navigat" not in str(error.msg):
            raise
        # The click was heard: the page went elsewhere before the driver could say so.
    return True
