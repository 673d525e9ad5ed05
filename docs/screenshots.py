#!/usr/bin/env python3
"""Take the viewer's pictures for docs/images from a study, usually the demo's: .venv/bin/python
docs/screenshots.py demo-study

Needs Chromium (apt-get install chromium). Nothing is asked of any other machine.
"""

from __future__ import annotations

import io
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
CHROMIUM = "/usr/bin/chromium"
QUALITY = 80


TOKEN = secrets.token_hex(16)


def visit(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(700)


def save(page: Page, name: str) -> None:
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(
        IMAGES / f"{name}.jpg", quality=QUALITY, optimize=True
    )


def take(page: Page, address: str) -> None:
    page.goto(f"{address}/?token={TOKEN}")
    visit(page, address + "/")
    save(page, "viewer-cohort")
    page.locator(".slide-card").first.click()
    page.wait_for_selector("html[data-ready=yes]")
    visit(page, page.url)
    save(page, "viewer-slide")
    page.locator("#gallery button[data-tile]").first.click()
    page.locator("#controls input[name=scale][value=percentile]").check(force=True)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000)
    save(page, "viewer-tile")
    page.locator("#side-by-side").click()
    page.wait_for_selector("html[data-ready=yes]")
    visit(page, page.url)
    save(page, "viewer-side-by-side")
    visit(page, address + "/reading")
    page.locator("#rater").fill("KB")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(700)
    save(page, "viewer-reading-room")


def main(study: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-m", "pathoml", "view", study, "--port", str(port)],
        env={**os.environ, "PATHOML_VIEW_TOKEN": TOKEN},
    )
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.2)
        with sync_playwright() as running:
            browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            take(
                browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB"),
                f"http://127.0.0.1:{port}",
            )
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main(sys.argv[1])
