"""The page in a browser: what a person sees, hears and can do with the keyboard alone."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from threading import Thread
from typing import Any

import pytest
from axe_core_python.selenium import Axe
from msgspec import structs
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from agents.clicks.watcher import EmittedAnswer
from agents.live.access import Access
from agents.live.feed import LiveFeed
from schemas.ids import ItemId
from schemas.records import CatalogItem
from tests.agents.live.builders import catalog_of, released, served
from tests.browser import chromium, prefer, require_chromium, resize

PATIENCE_SECONDS = 30
ATTACK = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
CATALOG = catalog_of(
    CatalogItem(item_id=ItemId("i1"), title="Linen shirt", category="clothes", price=39.5),
    CatalogItem(item_id=ItemId("i2"), title="Oak chair", category="home", price=120.0),
    CatalogItem(item_id=ItemId("attack"), title=ATTACK),
)


class Shop:
    """A live page served from a thread; answers are shown when the test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.feed = LiveFeed(CATALOG)
        serving = self._stack.enter_async_context(served(self.feed, Access("127.0.0.1", None)))
        self.address, _ = asyncio.run_coroutine_threadsafe(serving, self._loop).result(PATIENCE_SECONDS)

    def show(self, *answers: EmittedAnswer) -> None:
        """Show answers, and the summary after them."""
        done: Future[None] = Future()

        def show() -> None:
            for answer in answers:
                self.feed.emitted(answer)
            self.feed.summarise()
            done.set_result(None)

        self._loop.call_soon_threadsafe(show)
        done.result(PATIENCE_SECONDS)

    def close(self) -> None:
        """End the server and the thread, once."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Page:
    """The page in a browser."""

    def __init__(self, browser: Chrome, shop: Shop) -> None:
        self.browser = browser
        self.shop = shop
        prefer(browser, "light")
        resize(browser, 1280, 900)
        browser.get(f"{shop.address}/live")
        self.wait(lambda: shop.feed.is_watching)

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Wait until something holds."""
        return WebDriverWait(self.browser, PATIENCE_SECONDS, 0.05).until(lambda _: condition())

    def one(self, selector: str) -> WebElement:
        """Find the element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Read the elements' texts."""
        script = "return [...document.querySelectorAll(arguments[0])].map(node => node.textContent)"
        found: list[str] = self.browser.execute_script(script, selector)
        return found

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        ActionChains(self.browser).send_keys(*keys).perform()

    @property
    def focused(self) -> str | None:
        """Return the element that has the focus."""
        return self.browser.switch_to.active_element.get_attribute("id")

    @property
    def chosen(self) -> list[str]:
        """Read what the chosen session's row says."""
        return self.texts("[aria-selected=true] .sub:not(.by)")

    def fill(self) -> None:
        """Show three sessions; the first has two events, the second of which was foreseen."""
        self.shop.show(
            answer("v1"),
            answer("v1", "i2", probability=0.5),
            answer("v2", tier="knn"),
            answer("v3", pattern="browsing"),
        )
        self.wait(lambda: len(self.texts("[role=option]")) == 3)


def answer(visitor: str, item_id: str = "i1", **said: Any) -> EmittedAnswer:
    """Make an answer; tier, probability and pattern as said."""
    made = released(visitor, item_id)
    assert made.signal is not None
    recommendation = structs.replace(made.recommendation, tier=said.get("tier", "model"))
    signal = structs.replace(
        made.signal, purchase_probability=said.get("probability", 0.25), pattern=said.get("pattern", "focused")
    )
    return released(visitor, item_id, recommendation=recommendation, signal=signal)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """Run one browser for all tests here."""
    require_chromium()
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Chrome) -> Iterator[Page]:
    """Open the page; at the end the browser's console must be empty."""
    shop = Shop()
    try:
        browser.get_log("browser")  # what the test before left
        page = Page(browser, shop)
        yield page
        assert browser.get_log("browser") == []
        browser.get("about:blank")
    finally:
        shop.close()


def test_sessions_appear_as_they_happen(page: Page) -> None:
    """Rows with item titles, figures of the last minute, and the liveliest session beside them."""
    assert page.one("#empty").text == "Waiting for the first click…"
    page.fill()
    assert sorted(page.texts(".what span")) == ["Linen shirt", "Linen shirt", "Oak chair"]
    page.wait(lambda: page.texts("#session-title") == ["Session of f1000000"])
    assert page.texts("#tiers span") == ["model 75 %", "knn 25 %"]
    assert page.texts("#chance") == ["50 %"]
    assert page.texts("#answers .name") == ["Oak chairhome", "i3"]
    assert page.texts("#answers .price") == ["120.00", ""]
    assert "model" in page.texts("#answer-chips .chip")
    assert page.texts("#events .name b") == ["✓ foreseen: number 1"]
    assert page.texts("#hits .chip") == ["1 of 1 next views foreseen"]
    assert page.one("#chart").get_attribute("aria-label") == "Purchase probability over 2 events, now 50 %"
    assert len(page.browser.find_elements(By.CSS_SELECTOR, "#chart circle")) == 2


def test_a_title_that_is_markup_stays_text(page: Page) -> None:
    """Nothing of it is run, and all of it is to be read."""
    page.shop.show(answer("v1", "attack"))
    page.wait(lambda: page.texts(".what span") == [ATTACK])
    assert page.browser.title == "insession live"
    assert page.browser.find_elements(By.CSS_SELECTOR, "main script, main img") == []


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    """Tab reaches everything in order, arrows choose a session, Enter goes to it, P pauses."""
    page.fill()
    page.wait(lambda: page.chosen)
    order = []
    for _ in range(6):
        page.press(Keys.TAB)
        order.append(page.focused or page.browser.switch_to.active_element.text)
    assert order == ["Skip to the sessions", "pause", "theme", "tier", "pattern", "sessions"]
    page.press(Keys.HOME)
    assert page.chosen == ["f3000000 · 1 event · browsing"]
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.chosen == ["f1000000 · 2 events · focused"]
    assert page.one("#sessions").get_attribute("aria-activedescendant") == page.one(
        "[aria-selected=true]"
    ).get_attribute("id")
    page.press(Keys.ARROW_UP)
    assert page.chosen == ["f2000000 · 1 event · focused"]
    assert page.texts("#status") == ["Session f2000000: 1 event, purchase 25 %."]
    page.press(Keys.ENTER)
    assert page.focused == "session-title"
    page.press("p")
    assert page.one("#pause").get_attribute("aria-pressed") == "true"


def test_a_mouse_chooses_too(page: Page) -> None:
    """A click on a row."""
    page.fill()
    page.browser.find_elements(By.CSS_SELECTOR, "[role=option]")[1].click()
    assert page.chosen == ["f2000000 · 1 event · focused"]


def test_the_order_stands_still_under_the_hand(page: Page) -> None:
    """While the list has the focus new events move no row; new sessions come last. Without it the newest is first."""
    page.fill()
    page.one("#sessions").send_keys(Keys.HOME)
    before = page.texts("[role=option] .sub:not(.by)")
    page.shop.show(answer("v1"), answer("v4"))
    page.wait(lambda: len(page.texts("[role=option]")) == 4)
    rows = page.texts("[role=option] .sub:not(.by)")
    assert rows[:2] == before[:2]
    assert [row[:8] for row in rows[2:]] == ["f1000000", "f4000000"]
    page.browser.execute_script("document.activeElement.blur()")
    page.shop.show(answer("v2"))
    page.wait(lambda: page.texts("[role=option] .sub:not(.by)")[0].startswith("f2000000"))


def test_filters_leave_what_fits(page: Page) -> None:
    """By the tier of the last answer, by the pattern; nothing at all is said as such."""
    page.fill()
    tier, pattern = Select(page.one("#tier")), Select(page.one("#pattern"))
    tier.select_by_visible_text("knn")
    assert [row[:8] for row in page.texts("[role=option] .sub:not(.by)")] == ["f2000000"]
    pattern.select_by_visible_text("browsing")
    assert page.one("#empty").text == "No session fits the filters."
    tier.select_by_visible_text("all")
    assert [row[:8] for row in page.texts("[role=option] .sub:not(.by)")] == ["f3000000"]


def test_a_paused_page_stands_still_and_catches_up(page: Page) -> None:
    """What happens meanwhile is there when it goes on."""
    page.fill()
    page.one("#pause").click()
    page.shop.show(answer("v4"))
    page.browser.execute_async_script("setTimeout(arguments[0], 600)")  # more than two drawings
    assert len(page.texts("[role=option]")) == 3
    page.one("#pause").click()
    assert len(page.texts("[role=option]")) == 4


def test_events_are_not_read_out(page: Page) -> None:
    """A screen reader hears what its person does, and when the connection is lost; not every click of the shop."""
    page.fill()
    assert page.texts("#status") == [""]
    page.shop.close()
    page.wait(lambda: page.texts("#status") == ["The connection to the worker is lost."])
    assert page.one("#dot").get_attribute("class") == "dot off"
    page.browser.get("about:blank")
    page.browser.get_log("browser")  # that the connection is gone is told there too


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_rule_of_accessibility_is_broken(page: Page, scheme: Any, width: int) -> None:
    """Names, roles, contrast and all else that axe checks, in both schemes; on a narrow screen nothing sticks out."""
    prefer(page.browser, scheme, reduced_motion=True)
    resize(page.browser, width, 900)
    page.fill()
    page.wait(lambda: page.chosen)
    found = Axe().run(page.browser)
    assert [(broken["id"], broken["nodes"][0]["html"]) for broken in found["violations"]] == []
    assert {"color-contrast", "aria-required-children", "label", "select-name"} & {one["id"] for one in found["passes"]}
    assert page.browser.execute_script("return document.documentElement.scrollWidth") == width


def test_light_and_dark_differ_and_can_be_chosen(page: Page) -> None:
    """As the person's system says, until the button says otherwise; the choice outlives a reload."""

    def background() -> Any:
        return page.one("body").value_of_css_property("background-color")

    light = background()
    prefer(page.browser, "dark")
    dark = page.wait(lambda: background() if background() != light else None)
    theme = page.one("#theme")
    theme.click()
    assert (background(), theme.get_attribute("aria-label")) == (light, "Colour theme: light")
    page.browser.refresh()
    assert background() == light
    page.one("#theme").click()
    prefer(page.browser, "light")
    assert background() == dark


def test_reduced_motion_is_respected(page: Page) -> None:
    """Nothing moves by itself."""
    page.wait(lambda: page.one("#dot").get_attribute("class") == "dot on")
    assert page.one("#dot").value_of_css_property("animation-name") == "beat"
    prefer(page.browser, "light", reduced_motion=True)
    page.wait(lambda: page.one("#dot").value_of_css_property("animation-name") == "none")
