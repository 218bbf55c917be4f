"""Scores beside the pictures of an atlas: those of the analyses, and controls."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.analysis.networks import chain, pictures
from zf_lightning.analysis.faithfulness import faithfulness, magnitude
from zf_lightning.analysis.intervals import mean_interval
from zf_lightning.analysis.map_scores import COMPARED, PAIRS, MapScorer, Quiz, in_words
from zf_lightning.analysis.quiz import answer, ask
from zf_lightning.atlas import Atlas, ImageBatch, LayerAtlas, build_atlas
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.errors import UserError

IMAGES = pictures(40)
BATCH = ImageBatch(
    display=(128 + 40 * IMAGES).clamp(0, 255).to(torch.uint8),
    inputs=IMAGES,
    labels=torch.zeros(40, dtype=torch.int64),
)
FILL = torch.zeros_like(IMAGES[0])


def mean_colour(shown: Tensor) -> Tensor:
    return shown.float().mean((2, 3)) - 128


def images_of(indices: list[int]) -> ImageBatch:
    return ImageBatch(BATCH.display[indices], IMAGES[indices], BATCH.labels[indices])


def built(
    network: nn.Module, *, layer: str = "4", maps: list[int] | None = None, batch_size: int = 32
) -> tuple[Deconvnet, Atlas]:
    deconvnet = Deconvnet(network.eval().requires_grad_(False), batch_size=batch_size)
    top = deconvnet.top_activations([IMAGES], layers=[layer], k=3)
    quiz = Quiz(BATCH, mean_colour)
    scores = ("alike", "squares", "quiz")
    scorer = MapScorer(deconvnet, scores, {layer: [0, 1, 3]}, fill=FILL, quiz=quiz, seed=7)
    drawn = {layer: [0, 1, 2, 3, 4] if maps is None else maps}
    atlas = build_atlas(deconvnet, top, images_of, input_size=(31, 37), maps=drawn, scorer=scorer)
    return deconvnet, atlas


def units_of(layer: LayerAtlas, number: int) -> Units:
    images = layer.indices[number]
    return Units(
        layer.layer,
        images,
        torch.full_like(images, number),
        layer.rows[number],
        layer.columns[number],
    )


def test_the_scores_are_those_of_the_analyses() -> None:
    deconvnet, atlas = built(chain())
    layer = atlas.layers["4"]
    maps = deconvnet.feature_maps(IMAGES, ["4"])["4"]
    for place in (0, 1, 3):
        units = units_of(layer, place)
        plain = deconvnet.project_windows(IMAGES, units).pixels
        for rank in range(3):
            # Squares, of one unit at a time.
            found = faithfulness(
                deconvnet,
                IMAGES,
                units[rank : rank + 1],
                {"": magnitude(plain[rank : rank + 1])},
                pairs=PAIRS,
                fill=FILL,
                seed=7 + rank,
            )[""].squares
            torch.testing.assert_close(
                layer.scores["squares"][place, rank].double(), found[0], equal_nan=True
            )
            # The strongest other map at the place.
            at = (
                int(units.images[rank]),
                slice(None),
                int(units.rows[rank]),
                int(units.columns[rank]),
            )
            active = maps[at].clone()
            active[place] = 0
            other = int(active.argmax())
            if rank >= COMPARED or active[other] <= 0:
                assert layer.scores["alike"][place, rank].isnan()
                continue
            one = units[rank : rank + 1]
            beside = deconvnet.project_windows(
                IMAGES, replace(one, feature_maps=torch.tensor([other]))
            ).pixels
            cosine = torch.cosine_similarity(plain[rank].flatten(), beside[0].flatten(), dim=0)
            torch.testing.assert_close(layer.scores["alike"][place, rank], cosine)
    # What costs more is measured for some maps.
    assert layer.scores["squares"][[2, 4]].isnan().all()
    ordered = deconvnet.top_activations([IMAGES], layers=["4"], k=40)["4"]
    asked = ask(deconvnet, IMAGES, BATCH.display, "4", ordered, [0, 1, 3], k=9, trials=10)
    right = answer(asked, mean_colour)
    for kind in ("patches", "projections"):
        found = layer.scores[kind][[0, 1, 3]]
        known = found.isfinite().all(1)
        assert known.any() and (known == found.isfinite().any(1)).all()
        torch.testing.assert_close(found[known].double(), right[kind][known].double())


def test_they_are_kept_selected_joined_and_in_the_index(tmp_path: Path) -> None:
    _, atlas = built(chain())
    layer = atlas.layers["4"]
    atlas.save(tmp_path / "one.safetensors")
    again = Atlas.load(tmp_path / "one.safetensors")
    assert again.scoring == atlas.scoring and "alike" in atlas.scoring
    # In parts and in other batches, by other processes: the same.
    parts = [built(chain(), maps=maps, batch_size=2)[1].layers["4"] for maps in ([0, 3], [1, 2, 4])]
    joined = LayerAtlas.joined(parts).select([0, 1, 2, 3, 4])
    for name, samples in layer.scores.items():
        torch.testing.assert_close(again.layers["4"].scores[name], samples, equal_nan=True)
        torch.testing.assert_close(joined.scores[name], samples, equal_nan=True)
    entries = atlas.index()["layers"]["4"]["feature_maps"]
    squares = entries[1]["scores"]["squares"]
    expected = layer.scores["squares"][1].double()
    expected = expected[expected.isfinite()]
    assert len(expected) > 1
    assert squares["mean"] == pytest.approx(float(expected.mean()), rel=1e-5)
    error = float(expected.std()) / len(expected) ** 0.5
    assert squares["error"] == pytest.approx(error, rel=1e-5)
    assert squares["samples"] == len(expected) and "squares" not in entries[2]["scores"]
    assert in_words(layer.scores_of(1))[1] == f"squares {squares['mean']:.2f}"


def test_shuffled_projections_of_random_networks_and_a_blind_encoder_are_chance() -> None:
    found = []
    for seed in range(4):
        deconvnet = Deconvnet(chain(seed=seed).eval().requires_grad_(False))
        top = deconvnet.top_activations([IMAGES], layers=["4"], k=3)
        scorer = MapScorer(
            deconvnet,
            ("squares", "quiz"),
            {"4": range(5)},
            fill=FILL,
            quiz=Quiz(BATCH, lambda shown: torch.ones(len(shown), 2)),
        )
        layer = top["4"]
        images = layer.indices.flatten()
        numbers = torch.arange(5).repeat_interleave(3)
        units = Units("4", images, numbers, layer.rows.flatten(), layer.columns.flatten())
        # Shuffled: the projection of another unit.
        shuffled = deconvnet.project_windows(IMAGES, units).pixels.roll(4, 0)
        ranks = torch.arange(3).repeat(5)
        found += scorer.of_units(units, ranks, IMAGES, shuffled)["squares"].tolist()
        quiz = scorer.of_maps("4", list(range(5)))["patches"]
        assert (quiz[quiz.isfinite()] == 0.5).all()
    assert mean_interval(found).contains(0.5)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="no score magic"):
        MapScorer(Deconvnet(chain().eval()), ["magic"], {}, fill=FILL)
