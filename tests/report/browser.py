"""A headless Chromium, where there is one."""

import shutil
import time
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 60_000  # on a busy machine a page may take long; nothing here is a measurement


def skip_without_one():
    """Skip the tests of a module where no Chromium or no Playwright is installed."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install -e '.[dev]')")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (make chromium)", allow_module_level=True)


@contextmanager
def opened_browser():
    """One browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened_page(browser, address, **context):
    """A page whose requests, errors and console messages are kept; it is ready when its charts can be drawn."""
    with browser.new_context(**context) as own:
        own.grant_permissions(["clipboard-read", "clipboard-write"])
        page = own.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        yield page


def eventually(read, wanted):
    """Read until it is what is wanted (a value, or what a function says yes to): a page answers when it can."""
    accepts = wanted if callable(wanted) else lambda found: found == wanted
    end = time.monotonic() + PATIENCE_MS / 1000
    while not accepts(found := read()) and time.monotonic() < end:
        time.sleep(0.05)
    assert accepts(found), found
    return found
