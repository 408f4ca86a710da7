"""The example report and the picture of its first screen, made anew from a run: `make example-report`.

python dev/example_report.py [RUN]        # default: the demo's study, run in runs/example

It writes results/example/report.html, and report.png where Playwright finds a Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "results" / "example"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WIDTH, HEIGHT = 1280, 1130


def main() -> None:
    """Run, report, picture."""
    isoflop = [sys.executable, "-m", "isoflop"]
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/example")
    if len(sys.argv) == 1:
        subprocess.run([*isoflop, "demo", "--out", str(run)], check=True)
    page = FOLDER / "report.html"
    subprocess.run([*isoflop, "report", str(run), "-o", str(page)], check=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium is installed (make chromium): the picture was not made")
    picture(page, chromium)


def picture(page: Path, chromium: str) -> None:
    """The first screen, as a reader meets it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.set_default_timeout(120_000)
        tab.goto(page.resolve().as_uri())
        tab.wait_for_selector("[data-chart=curve] .main-svg")
        tab.wait_for_timeout(500)  # what Plotly lays out after drawing
        tab.screenshot(path=FOLDER / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
