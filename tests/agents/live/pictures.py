"""`make pictures`: the live page of a running demo, light and dark, into docs/pictures."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import chromium, prefer, resize

PICTURES = Path(__file__).parents[3] / "docs" / "pictures"
DEMO = [sys.executable, "-m", "agents", "demo", "--duration", "300"]
ANNOUNCED = "watch it live: "
WATCH_SECONDS = 40.0
CHOOSE_LIVELIEST = """
const length = (row) => parseInt(row.textContent.split(" · ")[1]);
const rows = [...document.querySelectorAll("[role=option]")].filter((row) => length(row) > 4);
const odds = (row) => parseFloat(row.querySelector(".odds").textContent) || 0;
rows.sort((one, other) => odds(other) - odds(one))[0]?.click();
"""
WIDTH, HEIGHT = 1280, 860


def picture(address: str) -> None:
    """Watch for a while, then keep what is to be seen in both schemes."""
    with chromium() as browser:
        prefer(browser, "light", reduced_motion=True)
        resize(browser, WIDTH, HEIGHT)
        browser.get(address)
        time.sleep(WATCH_SECONDS)
        WebDriverWait(browser, WATCH_SECONDS).until(
            lambda page: len(page.find_elements(By.CSS_SELECTOR, "#chart circle")) > 5
        )
        browser.find_element(By.ID, "pause").click()
        browser.execute_script(CHOOSE_LIVELIEST)
        for scheme in ("light", "dark"):
            prefer(browser, scheme, reduced_motion=True)  # type: ignore[arg-type]
            browser.save_screenshot(str(PICTURES / f"live-{scheme}.png"))


def main() -> None:
    """Run the demo, which trains a model the first time, and end it when the pictures are taken."""
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            line = next((line for line in demo.stdout if line.startswith(ANNOUNCED)), None)
            if line is None:
                sys.exit("the demo ended before its worker was ready")
            picture(line.removeprefix(ANNOUNCED).strip())
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate()


if __name__ == "__main__":
    main()
