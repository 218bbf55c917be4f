"""The page of a run in a real browser, opened from the disk."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.atlases import described, noise_atlas
from tests.report.browser import launched, needs_chromium
from zf_lightning.report.page import write_report
from zf_lightning.report.wall import MapWall

pytestmark = needs_chromium

TAG = "<img src=x onerror=alert(1)>"
LAYERS = (("conv2", 12), ("conv10", 8))
SIZES = ((1400, 1000), (400, 850))
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a page at an address; whatever the console is told is an error."""
    told: list[str] = []
    contexts = []

    def open_page(page: Path, address: str = "", *, width: int = 1400, theme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": dict(SIZES)[width]}, color_scheme=theme
        )
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(5000)
        tab.on("console", lambda message: told.append(message.text))
        tab.on("pageerror", lambda problem: told.append(str(problem)))
        tab.on("requestfailed", lambda request: told.append(f"not found: {request.url}"))
        tab.goto(f"{page.as_uri()}{address}")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert not told


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training with two layers and two epochs, one class being called like a tag."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "figures").mkdir()
    for epoch in (2, 10):
        for layer in ("conv2", "conv10"):
            name = f"epoch={epoch:03}_{layer}.webp"
            Image.new("RGB", (640, 480), (epoch * 10, 90, 90)).save(folder / "figures" / name)
    steps = "epoch,step,train/loss,val/top1_error\n0,9,2.5,80\n1,19,2.0,60\n"
    (folder / "metrics.csv").write_text(steps)
    (folder / "result.json").write_text(json.dumps({"task": "train"}))
    wall = MapWall(folder)
    layers, classes = [("conv2", 12, 7), ("conv10", 8, 40)], ("car", "old cat", TAG)
    atlases = [noise_atlas(layers, classes=classes, epoch=epoch) for epoch in (1, 9)]
    wall.add(atlases[1], {name: described(maps, label=2) for name, maps in LAYERS})
    wall.add_history(atlases)
    wall.add_examples(atlases[1])
    wall.write()
    return write_report(folder)


def shows(tab: Any, maps: list[str]) -> bool:
    """Wait until the wall has these feature maps: an address is followed in the browser's time."""
    names = "JSON.stringify([...document.querySelectorAll('#wall b')].map(b => b.innerText))"
    tab.wait_for_function(f"maps => {names} === JSON.stringify(maps)", arg=maps)
    return True


def opens(tab: Any, name: str) -> bool:
    """Wait until a feature map is open."""
    tab.get_by_role("heading", name=name, exact=True).wait_for()
    return True


def leads_to(tab: Any, address: str) -> bool:
    """Wait for an address of the wall."""
    tab.wait_for_function("address => location.hash === address", arg=address)
    tab.locator("dialog").wait_for(state="hidden")
    return True


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def of_class(label: int) -> list[str]:
    """The feature maps of both layers that a class excites, as a search names them."""
    return [f"{layer} · {n}" for layer, top in LAYERS for n in range(label, top, 3)]


def test_the_last_layer_and_epoch_come_first_and_a_slider_leads_back(
    page: Path, opened: Open
) -> None:
    tab = opened(page)
    expect(tab.locator("nav a.chosen")).to_have_text("conv10")
    assert shows(tab, numbers(8))
    expect(tab.locator("#heading")).to_have_text("conv10 after epoch 10: 8 feature maps")
    expect(tab.locator("#epoch")).to_have_text("10 of 10")
    expect(tab.locator("#grid")).to_have_attribute("alt", "conv10 after epoch 10")
    assert "undefined" not in tab.locator("body").inner_text()
    tab.wait_for_function("[...document.querySelectorAll('#wall img')].some(i => i.naturalWidth)")
    for link in tab.locator("main p a").all():
        assert (page.parent / link.get_attribute("href")).exists()
    tab.locator("#slider").press("ArrowLeft")
    expect(tab.locator("#epoch")).to_have_text("2 of 10")
    expect(tab.locator("#grid")).to_have_attribute("src", "../figures/epoch%3D002_conv10.webp")


def test_a_tile_opens_its_map_and_back_leads_to_the_wall(page: Path, opened: Open) -> None:
    tab = opened(page)
    tab.get_by_role("link", name="conv2").click()
    assert shows(tab, numbers(12))
    tab.locator("#wall a").nth(1).click()
    assert opens(tab, "conv2 · feature map 1") and tab.url.endswith("#conv2/1")
    expect(tab.locator("dialog figcaption").first).to_contain_text("old cat/9.jpg")
    expect(tab.locator("dialog li")).to_have_count(9 + 2 + 2 + 2)
    words = set(tab.locator("dialog img").evaluate_all("all => all.map(i => i.alt)"))
    assert len(words) == 2 * (9 + 2 + 1)
    expect(tab.locator("ol.history")).to_have_text(re.compile(r"^\s*epoch 2 "))
    for key, number in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2)):
        tab.keyboard.press(key)
        assert opens(tab, f"conv2 · feature map {number}")
    assert opens(tab, "conv2 · feature map 2") and tab.url.endswith("#conv2/2")
    tab.keyboard.press("Escape")
    assert leads_to(tab, "#conv2")
    tab.go_back()
    assert leads_to(tab, "") and shows(tab, numbers(8))
    expect(tab.locator("nav a.chosen")).to_have_text("conv10")


def test_what_all_images_say_stands_where_a_map_is_opened(page: Path, opened: Open) -> None:
    tab = opened(page, "#conv2/3")
    dialog = tab.locator("dialog")
    expect(dialog).to_contain_text("excited by 50 % of 8 images")
    expect(dialog.locator("ul.detects li").first).to_have_text(
        f"{TAG}: average precision 0.75, F1 0.80 (0.25 of the images)"
    )
    bars = dialog.get_by_role("img", name="histogram of activations from 1 to 3").locator("rect")
    assert bars.evaluate_all("all => all.map(bar => bar.getBBox().height)") == [20, 0, 60]
    examples = dialog.locator("ol.quantiles li")
    expect(examples.first).to_have_text(re.compile("quantile 0.5 does not excite it"))
    assert examples.first.locator("img").count() == 0
    expect(examples.last).to_contain_text("quantile 0.9 2.5")
    assert examples.last.locator("img").evaluate_all("all => all.every(i => i.naturalWidth)")


def test_a_feature_map_has_an_address(page: Path, opened: Open) -> None:
    tab = opened(page, "#conv2/11")
    assert opens(tab, "conv2 · feature map 11") and shows(tab, numbers(12))
    expect(tab.get_by_role("button", name="Next")).to_be_disabled()
    # Where the unit looks in its image.
    expect(tab.get_by_role("img", name="rows")).to_have_count(9)
    tab.get_by_role("button", name="Close").click()
    assert leads_to(tab, "#conv2")
    tab.evaluate("location.hash = '#conv2/99'")
    assert not tab.locator("dialog").is_visible(), "there is no such map"


def test_search_by_class_layer_number_and_file(page: Path, opened: Open) -> None:
    tab = opened(page)
    search = tab.locator("#search")
    search.press_sequentially("old cat")
    assert leads_to(tab, "#?old%20cat")
    expect(search).to_have_value("old cat")
    assert shows(tab, of_class(1))
    expect(tab.locator("#heading")).to_have_text("7 feature maps for “old cat”")
    for words, found in (
        ("conv10 cat", ["conv10 · 1", "conv10 · 4", "conv10 · 7"]),
        ("conv2/5", ["conv2 · 5"]),
        ("car/0.jpg", ["conv2 · 0", "conv10 · 0"]),
        ("nothing", []),
        (TAG, of_class(2)),
    ):
        search.fill(words)
        assert shows(tab, found), words
    search.fill("conv10 cat")
    assert shows(tab, ["conv10 · 1", "conv10 · 4", "conv10 · 7"])
    tab.locator("#wall a").nth(1).click()
    assert opens(tab, "conv10 · feature map 4")
    tab.keyboard.press("ArrowRight")
    assert opens(tab, "conv10 · feature map 7"), "the next that was found"
    tab.keyboard.press("Escape")
    assert leads_to(tab, "#?conv10%20cat")
    search.fill("")
    assert shows(tab, numbers(8))
    assert shows(opened(page, "#?conv2/5"), ["conv2 · 5"])


@pytest.mark.slow
def test_arrows_move_between_tiles_and_enter_opens_one(page: Path, opened: Open) -> None:
    tab = opened(page, "#conv2")
    tab.locator("#wall a").first.focus()
    columns = len(
        tab.evaluate(
            "getComputedStyle(document.getElementById('wall')).gridTemplateColumns"
        ).split()
    )
    assert columns > 2
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert opens(tab, f"conv2 · feature map {1 + columns}")


def test_a_class_called_like_a_tag_is_text(page: Path, opened: Open) -> None:
    tab = opened(page, "#conv10/2")
    expect(tab.locator("dialog")).to_contain_text(TAG)
    tab.keyboard.press("Escape")
    expect(tab.locator("#wall")).to_contain_text(TAG)
    assert not tab.locator('img[src="x"]').count() and not tab.locator("datalist img").count()


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (400, "dark")])
def test_themes_and_widths(page: Path, opened: Open, theme: str, width: int) -> None:
    tab = opened(page, "#conv2/3", width=width, theme=theme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = "all => all.filter(i => !i.alt).length"
    assert tab.locator("img").evaluate_all(unnamed) == 0
    ground = "getComputedStyle(document.body).backgroundColor"
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 26)"}
    assert tab.evaluate(ground) == colours.pop(theme)
    tab.locator("#theme").click()
    (other,) = colours.values()
    assert tab.evaluate(ground) == other
    tab.reload()
    assert tab.evaluate(ground) == other, "the choice is kept"


def test_a_page_without_a_wall_or_epochs_has_its_pictures(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "figures").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "figures" / "conv2.png")
    tab = opened(write_report(tmp_path))
    expect(tab.locator("#grid")).to_have_attribute("src", "../figures/conv2.png")
    assert not tab.locator(".epochs").is_visible() and not tab.locator("#search").count()
    assert "undefined" not in tab.locator("body").inner_text()
