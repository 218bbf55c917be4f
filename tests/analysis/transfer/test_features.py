"""The cache of features."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from tests.system.damage import DAMAGES
from zf_lightning.analysis.transfer import FeatureCache, features
from zf_lightning.errors import UserError
from zf_lightning.system.sealed import read_json

IMAGES = torch.rand(23, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def read(images: Tensor) -> dict[str, Tensor]:
    return {"low.0": images.flatten(1) * 1e6, "high": images.mean((2, 3))}


def batches(start: int, *, until: int = len(IMAGES)) -> Iterator[Tensor]:
    for first in range(start, until, 4):
        yield IMAGES[first : min(first + 4, until)]
    if until < len(IMAGES):
        raise KeyboardInterrupt


def fill(
    cache: FeatureCache, layers: list[str], found: Callable[..., Any], parts: Iterable[Tensor]
) -> int:
    filling = cache.filling(layers)
    first = filling.done
    for part in parts:
        filling.add(found(part))
    return filling.done - first


def test_features_come_back_as_they_were_however_large(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, images=len(IMAGES))
    assert not cache.complete(["low.0"])
    assert fill(cache, ["low.0", "high"], read, batches(0)) == len(IMAGES)
    assert cache.complete(["low.0", "high"])
    wanted = numpy.array([20, 3, 3])
    found = cache.layer("low.0").read(wanted)
    numpy.testing.assert_allclose(found, read(IMAGES)["low.0"][wanted], rtol=1e-3, atol=500)
    some = cache.layer("low.0").read(wanted, slice(5, 9))
    numpy.testing.assert_array_equal(some, found[:, 5:9])


def test_an_interrupted_pass_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "ROWS_BETWEEN_MARKS", 8)
    whole = FeatureCache(tmp_path / "whole", images=len(IMAGES))
    fill(whole, ["high"], read, batches(0))
    cache = FeatureCache(tmp_path / "part", images=len(IMAGES))
    with pytest.raises(KeyboardInterrupt):
        fill(cache, ["high"], read, batches(0, until=15))
    again = FeatureCache(tmp_path / "part", images=len(IMAGES))
    assert again.start(["high"]) == 8
    assert fill(again, ["high"], read, batches(8)) == len(IMAGES) - 8
    everything = slice(0, None)
    numpy.testing.assert_array_equal(
        again.layer("high").read(everything), whole.layer("high").read(everything)
    )


def test_a_layer_that_is_asked_for_later_is_added(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, images=len(IMAGES))
    fill(cache, ["high"], read, batches(0))
    assert cache.start(["high", "low.0"]) == 0
    fill(cache, ["low.0"], read, batches(0))
    assert cache.complete(["high", "low.0"])


def test_features_that_are_not_numbers_and_a_full_disk_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path, images=len(IMAGES))
    with pytest.raises(UserError, match="high has features that are not finite"):
        fill(cache, ["high"], lambda images: {"high": images.flatten(1) / 0}, batches(0))
    monkeypatch.setattr(features.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="are free"):
        fill(FeatureCache(tmp_path / "full", images=10**9), ["high"], read, batches(0))


@pytest.mark.parametrize("damage", [*DAMAGES, "missing"])
@pytest.mark.parametrize("name", ["high.float16", "high.scale", "progress.json"])
def test_damaged_features_are_computed_again(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(FeatureCache(tmp_path, images=len(IMAGES)), ["high", "low.0"], read, batches(0))

    def contents() -> list[object]:
        names = ("high.float16", "high.scale", "low.0.float16", "low.0.scale")
        rows = [(tmp_path / name).read_bytes() for name in names]
        return [rows, read_json(tmp_path / "progress.json")]

    whole = contents()
    DAMAGES.get(damage, Path.unlink)(tmp_path / name)
    cache = FeatureCache(tmp_path, images=len(IMAGES))
    assert cache.start(["high"]) == 0
    assert (damage, name) == ("missing", "progress.json") or "computed again" in caplog.text
    fill(cache, ["high", "low.0"], read, batches(0))
    assert FeatureCache(tmp_path, images=len(IMAGES)).complete(["high", "low.0"])
    assert contents() == whole


def test_features_of_an_earlier_version_are_used_and_sealed_when_they_grow(tmp_path: Path) -> None:
    fill(FeatureCache(tmp_path, images=len(IMAGES)), ["high"], read, batches(0))
    sealed = read_json(tmp_path / "progress.json")
    earlier = {"high": {"done": 8, "dimensions": sealed["high"]["dimensions"]}}
    (tmp_path / "progress.json").write_text(json.dumps(earlier))
    cache = FeatureCache(tmp_path, images=len(IMAGES))
    assert cache.start(["high"]) == 8
    fill(cache, ["high"], read, batches(8))
    assert read_json(tmp_path / "progress.json") == sealed
