"""The page in a real browser: a photo goes up, its classes come back, divider and sliders move, nothing leaks."""

import json
import os
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from nightlab.web.app import create_app
from nightlab.web.serve import LOOPBACK, create_server

from .conftest import as_png

pytest.importorskip("flask", reason="the page's server needs Flask (requirements/web.txt)")
pytest.importorskip("waitress", reason="the page's server needs waitress (requirements/web.txt)")
webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium (requirements/browser.txt)")
waiting = pytest.importorskip("selenium.webdriver.support.wait")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (BROWSER and DRIVER):
    pytest.skip("no chromium with its chromedriver on the PATH", allow_module_level=True)

FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
PATIENCE = 60


@pytest.fixture
def address(room):
    """The page, served and with its desk open."""
    server = create_server(create_app(room, LOOPBACK), "127.0.0.1", 0, room.limits)
    room.desk.open()
    threading.Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{server.effective_port}/"
    server.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    given = (*FLAGS, "disable-component-update", "disable-sync", f"user-data-dir={tmp_path_factory.mktemp('profile')}")
    for flag in (*given, "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a visitor does."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.get(address)
        self.wait("return document.body.dataset.ready")

    def __getitem__(self, name):
        return self.browser.find_element("id", name)

    def wait(self, script):
        return waiting.WebDriverWait(self.browser, PATIENCE, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(script)
        )

    def settle(self):
        """Until no job is on its way."""
        self.wait("return !document.body.hasAttribute('aria-busy')")

    def press(self, name, keys):
        self[name].send_keys(keys)
        self.settle()

    def move_to(self, x, y):
        """The pointer, to a place of the picture from 0 to 1."""
        stage = self["stage"]
        across, down = (int((value - 0.5) * stage.size[side]) for value, side in ((x, "width"), (y, "height")))
        actions = webdriver.ActionChains(self.browser)
        actions.move_to_element_with_offset(stage, across, down).perform()

    def clip(self, name):
        return self.browser.execute_script(f"return getComputedStyle(document.getElementById('{name}')).clipPath")

    def fit(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture
def page(browser, address):
    return Page(browser, address)


def upload(page, tmp_path, photo, name="street.png"):
    path = tmp_path / name
    path.write_bytes(photo)
    page["file"].send_keys(str(path))
    page.settle()


def test_a_visit(page, browser, address, room, tmp_path, photo):
    keys = webdriver.Keys
    upload(page, tmp_path, photo)
    assert "2 regions" in page["status"].text and not page["error"].is_displayed()
    assert [label.text for label in page["regions"].find_elements("tag name", "span")] == ["0.60", "0.90"]
    assert [item.text.split()[0] for item in page["legend"].find_elements("tag name", "li")] == [
        "bright",
        "dark",
        "lamp",
    ]

    page.move_to(0.9, 0.5)
    assert page["tip"].is_displayed() and page["tip"].text == "bright"
    page.move_to(0.05, 0.05)
    assert page["tip"].text == "image level: dark, both levels: lamp"

    assert "50%" in page.clip("left") and "50%" in page.clip("right")
    page.press("divider", keys.HOME)
    assert "100%" in page.clip("left")  # all of it cut away
    page.press("divider", keys.ARROW_RIGHT * 50)
    assert "75%" in page.clip("left") and "25%" in page.clip("right")

    page.press("number", keys.END)
    page.press("threshold", keys.ARROW_RIGHT * 50)
    assert len(page["regions"].find_elements("tag name", "span")) == 2 and "kept" in page["status"].text
    page.press("number", keys.HOME)
    assert not page["regions"].find_elements("tag name", "span") and room.model.frames == 1

    page["stage"].send_keys(keys.ARROW_LEFT)
    assert page["cross"].is_displayed() and page["readout"].text == "dark"  # just left of the middle

    picture = tmp_path / "page.png"
    assert browser.save_screenshot(str(picture)) and cv2.imread(str(picture)).std() > 5
    if folder := os.environ.get("NIGHTLAB_SCREENSHOTS"):
        shutil.copy(picture, Path(folder, "page.png"))
    complaints = [entry["message"] for entry in browser.get_log("browser")]
    assert not complaints, complaints  # of the content policy, for one
    assert asked_by(browser, address) <= {address, "data:"}


def asked_by(browser, address):
    """Where the page's requests went."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [told["request"]["url"] for told in sent if told["documentURL"].startswith(address)]
    assert urls
    return {next((known for known in (address, "data:") if url.startswith(known)), url) for url in urls}


@pytest.mark.parametrize("width", [1280, 390])
def test_widths(page, width, room):
    page.fit(width, 844)
    page["examples"].find_elements("tag name", "button")[1].click()
    page.settle()
    assert room.model.frames == 1 and page["result"].is_displayed()
    script = "return [document.documentElement.scrollWidth, innerWidth, document.getElementById('stage').clientWidth]"
    needed, there, stage = page.browser.execute_script(script)
    assert needed <= there == width and stage > 0.6 * width
    unnamed = page.browser.execute_script(
        "return [...document.querySelectorAll('input, button')].filter("
        "x => !(x.labels?.length || x.getAttribute('aria-label') || x.querySelector('img[alt]'))).map(x => x.id)"
    )
    assert not unnamed


def test_errors_are_one_line_and_the_next_photo_is_seen(page, tmp_path, photo, room):
    upload(page, tmp_path, b"no image", "text.png")
    assert "not a readable file" in page["error"].text and "\n" not in page["error"].text
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    upload(page, tmp_path, as_png(noise), "large.png")
    assert page["error"].text == "This file is larger than 1 MB; save it smaller."
    upload(page, tmp_path, b"GIF89a", "moving.gif")
    assert "no JPEG, PNG or WebP" in page["error"].text
    upload(page, tmp_path, photo)
    assert not page["error"].is_displayed() and page["result"].is_displayed() and room.model.frames == 1


def test_leaving_the_page_forgets_its_picture(page, browser, tmp_path, photo, room):
    upload(page, tmp_path, photo)
    assert len(room.visitors._known) == 1
    browser.get("about:blank")
    page.wait("return true")
    for _ in range(200):
        if not room.visitors._known:
            break
        threading.Event().wait(0.05)
    assert not room.visitors._known
