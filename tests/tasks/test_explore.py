"""task=explore: what its page shows, without Gradio; and the page in a browser, with it."""

import builtins
import importlib.util
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.conftest import Compose
from tests.report.browser import launched, needs_chromium
from tests.runs import own_network
from zf_lightning.config.compose import compose
from zf_lightning.errors import UserError
from zf_lightning.inspection.explore_page import serve
from zf_lightning.inspection.explorer import Explorer
from zf_lightning.inspection.subject import load_subject
from zf_lightning.tasks import atlas, explore


@pytest.fixture
def picture(image_folder: Path) -> Path:
    return image_folder / "red" / "000.png"


@pytest.fixture
def explorer(image_folder: Path, tmp_path: Path, compose_config: Compose) -> Explorer:
    """Of a small network, with an atlas of its first layer."""
    given = [*own_network(image_folder, tmp_path), "data.workers=0", "logger=none"]
    atlas.run(compose_config("task=atlas", *given, "atlas.layers=stem", "atlas.maps=all"))
    (tmp_path / "run").rename(tmp_path / "made")
    asked = [f"explore.atlas={tmp_path / 'made'}", f"explore.port={free_port()}"]
    config = compose_config("task=explore", *given, "explore.layers=[stem,block]", *asked)
    return Explorer(load_subject(config), config)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_what_the_page_shows(explorer: Explorer, picture: Path, tmp_path: Path) -> None:
    looked = explorer.look(picture)
    pictures, units = explorer.maps(looked, "stem")
    assert [text.split(":")[0] for _, text in pictures] == [
        f"map {number}" for number in units.feature_maps.tolist()
    ]
    assert explorer.projected(looked, units, 0).width > 2 * 48
    entry = explorer.atlas_entry("stem", 2)
    assert isinstance(entry, Image.Image) and explorer.atlas_entry("stem", 9) is None
    with pytest.raises(UserError, match=r"explore\.atlas=.* has no atlas of block"):
        explorer.atlas_entry("block", 0)

    whole, plain = explorer.hidden(looked, 24, 24, 0)
    square, found = explorer.hidden(looked, 24, 24, 10)
    assert whole.getpixel((24, 24)) != square.getpixel((24, 24)) == (128, 128, 128)
    network, painted = explorer.subject.network, looked.inputs.clone()
    painted[:, :, 19:29, 19:29] = explorer.fill[:, 19:29, 19:29]
    for inputs, given in ((looked.inputs, plain), (painted, found)):
        with torch.no_grad():
            expected = network(inputs)[0].softmax(0).tolist()
        assert list(given.values()) == pytest.approx(expected)
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(UserError, match="its format is not known"):
        explorer.look(tmp_path / "note.png")


def test_without_gradio_it_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "gradio":
            raise ImportError(name)
        return genuine(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs the package gradio: .* '\.\[cli,explore\]'"):
        explore.run(compose("task=explore", "ckpt=RUN", folder=tmp_path))


@needs_chromium
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="the extra explore")
@pytest.mark.filterwarnings("default")
def test_the_page_in_a_browser(explorer: Explorer, picture: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = serve(explorer, tmp_path / "dropped")
    try:
        with pytest.raises(UserError, match=r"give another address: explore\.port"):
            serve(explorer, tmp_path / "dropped")
        with launched() as browser:
            tab = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            asked: list[str] = []
            problems: list[str] = []
            tab.on("request", lambda request: asked.append(request.url))
            tab.on("pageerror", lambda problem: problems.append(str(problem)))
            tab.goto(page.local_url)
            tab.locator("label", has_text="stem").click()
            tab.locator("input[type=file]").first.set_input_files(picture)
            tab.locator("#maps img").first.click()
            note = tab.locator("#note textarea")
            expect(note).to_have_value(
                re.compile(r"stem, map \d: .*; beside what excites the feature map in the atlas\.")
            )
            expect(tab.locator("#projection img")).to_be_visible()
            expect(tab.locator("#atlas img")).to_be_visible()
            hidden = tab.locator("#hidden img")
            before, shown = tab.locator("#without").inner_text(), hidden.get_attribute("src")
            hidden.click(position={"x": 20, "y": 20})
            expect(hidden).not_to_have_attribute("src", shown or "")
            sliders = tab.locator("input[type=range]")
            sliders.nth(2).fill("48")
            expect(tab.locator("#without")).not_to_have_text(before, use_inner_text=True)
            assert int(sliders.nth(0).input_value()) < 24 > int(sliders.nth(1).input_value())
            tab.screenshot(path=tmp_path / "page.png", full_page=True)
            tab.locator("label", has_text="block").click()
            expect(note).to_have_value("")
            expect(tab.locator("#maps img").first).to_be_visible()
        assert not problems
        assert {url.split("/")[2] for url in asked if url.startswith("http")} == {
            page.local_url.split("/")[2]
        }
    finally:
        page.close()
