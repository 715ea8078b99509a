"""The picture of the page in the README, taken in a headless Chromium.

    intently demo --home DIR --port 8000                    # once the full model is live
    python scripts/screenshot.py http://127.0.0.1:8000 --user 7 --click 6 --out docs/images/page.png

It clicks one product, so that the picture shows how the list follows: the click is stored in that shop.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> None:
    """Take one picture."""
    made = argparse.ArgumentParser(description="A picture of the page.")
    made.add_argument("address")
    made.add_argument("--user", default="7")
    made.add_argument("--click", type=int, default=0, help="rank of the product to mark as bought; 0: none")
    made.add_argument("--out", type=Path, default=Path("docs/images/page.png"))
    wanted = made.parse_args()
    found = next((path for path in map(shutil.which, ("chromium", "google-chrome")) if path), None)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB")
        page.goto(f"{wanted.address}/#{wanted.user}")
        page.wait_for_selector(".item")
        if wanted.click:
            page.click(f".item:nth-child({wanted.click}) .quiet")
            page.wait_for_selector("#changed:not(:empty)")
            page.mouse.move(0, 0)
            page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1500)
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=wanted.out)
        browser.close()


if __name__ == "__main__":
    main()
