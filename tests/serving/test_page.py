"""The page in a real browser: choose a customer, see chances, click, and the list follows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from served import Running, keep, publish, repeat, running

from intently.data import Dataset
from intently.models import Recommender

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)  # a busy machine is slow, not wrong
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    assert found, "the page needs a Chromium to be tested: sh scripts/browser.sh"
    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=found, args=QUIET, timeout=PATIENCE_MS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shop: Dataset, calibrated: Recommender) -> Path:
    found = tmp_path_factory.mktemp("page")
    keep(found, shop)
    publish(found, shop, calibrated)
    return found


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Running]:
    with running(home) as found:
        yield found


class Watched:
    """A page, with everything it complained of and everything it asked outside."""

    def __init__(self, browser: Browser, service: Running, locale: str = "en-GB", width: int = 1200) -> None:
        self.context = browser.new_context(
            locale=locale, viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda line: self.complaints.append(line.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url, service.address))

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith(address):
            self.complaints.append(f"asked {url}")

    def rows(self) -> list[str]:
        return [str(row.get_attribute("data-item")) for row in self.page.locator(".item").all()]


@pytest.fixture
def watched(browser: Browser, service: Running) -> Iterator[Watched]:
    found = Watched(browser, service)
    yield found
    found.context.close()
    assert not found.complaints


def test_a_customer_is_found_and_sees_chances_and_reasons(watched: Watched, service: Running) -> None:
    page = watched.page
    page.goto(service.address)
    expect(page.locator(".item")).to_have_count(10)
    field = page.get_by_role("combobox", name="Customer")
    field.fill("u003")
    expect(page.get_by_role("option")).to_have_count(1)
    field.press("ArrowDown")
    field.press("Enter")
    expect(page).to_have_url(f"{service.address}/#u003")
    expect(page.locator(".item").first).to_contain_text("usually every 7 days")
    expect(page.locator(".item .chance p").first).to_contain_text("%")
    assert set(watched.rows()[:2]) == {"i003", "i011"}
    bars = [bar.bounding_box() for bar in page.locator(".bar").all()]
    widths = [box["width"] for box in bars if box]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 2 * widths[-1]
    expect(page.locator(".basket")).to_have_count(12)
    expect(page.locator(".attributes")).to_contain_text("45-54")
    expect(page.locator("#note")).to_have_text("made up for a test")
    expect(page.locator("#shop")).to_contain_text("this shop’s clock stands at")


def test_a_click_changes_the_list_and_says_what_moved(watched: Watched, service: Running) -> None:
    page = watched.page
    page.goto(f"{service.address}/#a newcomer")
    expect(page.locator("#history")).to_contain_text("Nothing yet")
    expect(page.locator("#next-about")).to_contain_text("Nothing is known of this customer yet")
    before = watched.rows()
    chosen = before[-1]
    page.locator(f".item[data-item={chosen}] .title").click()
    expect(page.locator("#changed")).to_contain_text("was clicked: ")
    assert watched.rows() != before
    assert watched.rows()[0] == chosen
    expect(page.locator(".item .tag.up").first).to_be_visible()
    expect(page.locator(".basket.fresh")).to_contain_text("clicked")
    page.get_by_role("button", name="Bought: ").nth(4).click()
    expect(page.locator("#changed")).to_contain_text("was bought")
    told = service.client.get("/v1/users/a newcomer/history").json()
    assert [event["event"] for event in told["events"]] == ["purchase", "click"]


def test_the_page_speaks_chinese_and_fits_a_phone(browser: Browser, service: Running) -> None:
    watched = Watched(browser, service, locale="zh-CN", width=360)
    page = watched.page
    page.goto(f"{service.address}/#u003")
    expect(page.locator("#next-title")).to_have_text("接下来会买什么")
    expect(page.locator(".item").first).to_contain_text("买过 20 次")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.get_by_role("button", name="English").click()
    expect(page.locator("#next-title")).to_have_text("What they will buy next")
    watched.context.close()
    assert not watched.complaints


def test_text_of_the_shop_is_never_run(watched: Watched, service: Running) -> None:
    page = watched.page
    name = "<img src=x onerror=alert(1)>"
    page.goto(f"{service.address}/#{name}")
    expect(page.locator(".item")).to_have_count(10)
    expect(page.get_by_role("combobox")).to_have_value(name)
    assert page.locator("main img").count() == 0


def test_the_page_follows_the_training_and_the_better_model(
    browser: Browser, tmp_path: Path, shop: Dataset, calibrated: Recommender
) -> None:
    keep(tmp_path, shop)
    publish(tmp_path, shop, repeat(shop), stage="quick")
    said = {"done": 2, "of": 5, "step": "reading the catalogue", "pid": os.getpid()}
    (tmp_path / "training.json").write_text(json.dumps(said))
    with running(tmp_path) as service:
        watched = Watched(browser, service)
        page = watched.page
        page.goto(f"{service.address}/#u003")
        expect(page.locator("#banner")).to_contain_text("This is the quick model.")
        expect(page.locator("#banner")).to_contain_text("step 3 of 5, reading the catalogue")
        expect(page.locator("#next-about")).to_contain_text("An order without probabilities")
        assert page.locator(".bar").count() == 0
        (tmp_path / "training.json").unlink()
        publish(tmp_path, shop, calibrated)
        expect(page.locator("#changed")).to_have_text("A better model answers now.")
        expect(page.locator("#banner")).to_be_hidden()
        assert page.locator(".bar").count() == 10
        assert not watched.complaints
        watched.context.close()


def test_a_service_with_a_key_asks_for_it_and_says_when_it_is_wrong(
    browser: Browser, simple_home: Path
) -> None:
    key = "a-key-of-a-test-0123456789"
    with running(simple_home, env={"INTENTLY_KEY": key}) as service:
        watched = Watched(browser, service)
        page = watched.page
        page.goto(service.address)
        expect(page.get_by_role("alert")).to_contain_text("this needs the service's key")
        page.get_by_label("This service needs its key").fill("not the key")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("This service needs its key").fill(key)
        page.get_by_role("button", name="Open").click()
        expect(page.locator(".item")).to_have_count(10)
        expect(page.get_by_role("alert")).to_be_hidden()
        watched.context.close()
