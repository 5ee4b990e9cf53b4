"""Headless Chromium for the tests that open pages.

Needs selenium, Chromium and its driver. Without a browser the tests are skipped, except where the
variable CI_BROWSER says that there must be one.
"""

from __future__ import annotations

import os
import shutil

import pytest
from selenium import webdriver

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
DRIVER = shutil.which("chromedriver")
FOUND = bool(BROWSER and DRIVER)
NEEDED = os.environ.get("CI_BROWSER", "") not in ("", "0", "false")
skip_without = pytest.mark.skipif(not FOUND and not NEEDED, reason="no chromium with chromedriver")

FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    # containers have little shared memory
    "disable-dev-shm-usage",
)


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
