"""Headless Chromium for the tests that open pages.

Needs selenium, Chromium and its driver. Without a browser the tests are skipped, except where the
variable CI_BROWSER says that there must be one.
"""

from __future__ import annotations

import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver")
FOUND = bool(BROWSER and DRIVER)
NEEDED = os.environ.get("CI_BROWSER", "") not in ("", "0", "false")
skip_without = pytest.mark.skipif(not FOUND and not NEEDED, reason="no chromium with chromedriver")

FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    # a page's first layout is at this size, whenever the size that is asked for arrives
    "window-size=1280,900",
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    # containers have little shared memory
    "disable-dev-shm-usage",
)

#: events of a new size come before a frame: after two of them none is left
FRAMES = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"


def start(profile):
    """Start a browser with an empty profile, a folder; its log has what the console says."""
    # selenium would look for one on the network
    assert FOUND, "CI_BROWSER is set, so chromium and chromedriver must be installed"
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for flag in (*FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(DRIVER))


def look(browser, width, scheme="light", media="screen"):
    """Set width and colour scheme."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.wide = width
    settle(browser)


def visit(browser, address):
    """Open a page, and wait until it has the width that `look` set and is drawn for it.

    A page from another place gets its own process, where the width may arrive after the load.
    """
    browser.get(address)
    settle(browser)


def settle(browser):
    """Wait until the page has its width, and what follows from a new one is drawn."""
    # about:blank and the browser's own pages, which phones show 980 pixels wide
    if not browser.current_url.startswith(("file:", "http")):
        return
    wide = f"return window.innerWidth === {browser.wide}"
    WebDriverWait(browser, 10).until(lambda page: page.execute_script(wide))
    browser.execute_async_script(FRAMES)
