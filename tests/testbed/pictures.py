"""What users see, as pictures in docs/img, made in a real browser on a real hub."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from tests.testbed.hub import ROOT, HubRunner
from tests.testbed.patience import PATIENCE
from tests.testbed.providers import control_plane
from tests.testbed.stage import Stage, policy
from tests.testbed.z2jh import hooked

_IMAGES: Final = ROOT / "docs" / "img"
_NAMESPACE: Final = "demo"
#: A small server uses it up in eighteen seconds, and may start again some minutes later.
_TINY: Final = policy(
    "memory",
    scope={"everyone": True},
    resource="memory",
    limit={"value": "0.005", "unit": "GiB-hours"},
    window={"rolling": "5m"},
    message="Need more? Write to mailto:it@uni.example or see https://it.uni.example/quotas",
)
#: Looking up what the hub knows of a user takes a while, as it does in earnest. Else the refusal may be there before
#: the pending page, which a browser is then not shown.
_SLOWLY: Final = """
import asyncio
async def look_up(spawner, state):
    await asyncio.sleep(2)
c.Spawner.auth_state_hook = look_up
"""
_WIDTH: Final = 1000
_HEIGHT: Final = 620
_ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def take(stage: Stage, page: Page) -> None:
    """Walk the way of a user whose quota runs out, and take a picture at each stop."""
    _log_in(stage.hub, page)
    # A pod that is not placed yet keeps the page where it tells what is left.
    stage.kubelet.stop()
    _start(stage, page, "/hub/spawn/alice?profile=small")
    page.click("#progress-details summary")
    page.get_by_text("left in any").first.wait_for()
    _picture(page, "starting.png")
    stage.kubelet.start()
    _until_used_up(stage)
    stage.hub.end_server("alice")
    _start(stage, page, "/hub/spawn/alice?profile=small")
    page.locator("#progress-message", has_text="It will work again").wait_for()
    _picture(page, "refused-pending.png")
    page.goto(f"{stage.hub.url}/hub/spawn-pending/alice")
    page.get_by_text("It will work again").first.wait_for()
    _picture(page, "refused-not-running.png")


def _picture(page: Page, name: str) -> None:
    """The page down to where it is empty."""
    bottom = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.container')].map(c => c.getBoundingClientRect().bottom))"
    )
    page.screenshot(path=_IMAGES / name, clip={"x": 0, "y": 0, "width": _WIDTH, "height": min(bottom + 24, _HEIGHT)})


def _start(stage: Stage, page: Page, path: str) -> None:
    page.goto(stage.hub.url + path, wait_until="domcontentloaded")


def _until_used_up(stage: Stage) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        quotas = stage.get("uq", "alice").get("status", {}).get("quotas") or [{"used": "0"}]
        if float(quotas[0]["used"]) > 0.0056:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(stage.operator.last_words())
        time.sleep(0.2)


def form(stage: Stage, page: Page) -> None:
    """The form page, which tells it where a hub waits a while for the answer, as JupyterHub does by itself."""
    stage.hub.stop()
    folder = stage.folder / "waiting"
    waiting = HubRunner(stage.api, _NAMESPACE, folder, "c.JupyterHub.tornado_settings = {}\n" + hooked(folder))
    waiting.start()
    try:
        _log_in(waiting, page)
        page.goto(f"{waiting.url}/hub/spawn/alice")
        page.click("form button[type=submit]")
        page.get_by_text("It will work again").first.wait_for()
        _picture(page, "refused-form.png")
    finally:
        waiting.stop()


def _log_in(hub: HubRunner, page: Page) -> None:
    page.goto(hub.url)
    page.fill("#username_input", "alice")
    page.fill("#password_input", "demo")
    page.click("#login_submit")


def main() -> int:
    """Set up a hub, take the pictures, tear it down."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium: install the package chromium, or name one in CHROMIUM", file=sys.stderr)
        return 2
    _IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hubquota-pictures-") as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, reduced_motion="reduce")
        api = control_plane(Path(name) / "control-plane")
        stage: Stage | None = None
        try:
            api.start()
            api.apply(ROOT / "crds", _NAMESPACE)
            stage = Stage(api, _NAMESPACE, Path(name) / "stage", _SLOWLY)
            stage.start()
            stage.apply(_TINY)
            while not stage.get("qp", "memory").get("status"):
                time.sleep(0.1)
            take(stage, page)
            form(stage, page)
        finally:
            if stage is not None:
                stage.stop()
            api.stop()
            browser.close()
    print(f"pictures are in {_IMAGES.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
