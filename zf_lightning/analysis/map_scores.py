"""Numbers that stand beside a feature map's pictures: do they tell the truth about it?

Small samples of what `task=faithfulness` and `task=quiz` measure with intervals for a few maps:

- *alike*: the cosine of a projection with that of the strongest other map at the same place, for
  the map's two strongest images. 1 means that the picture could as well be that map's.
- *squares*: of two squares hidden in turn, how often the one that the projection marks more lowers
  the unit more (`two_squares.py`), for each of the map's images. 0.5 says nothing.
- *patches*, *projections*: how often patches, or projections, of nine images tell which of two
  further images excites the map (`quiz.py`), among images of the split. 0.5 is chance.

The squares of the n-th image are the same for every map, and nothing depends on the order in which
maps are measured, or by which process.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zf_lightning.analysis.faithfulness import magnitude
from zf_lightning.analysis.place_response import PlaceResponse
from zf_lightning.analysis.quiz import Encoder, answer, ask, askable
from zf_lightning.analysis.two_squares import hide_two_squares
from zf_lightning.atlas import ImageBatch
from zf_lightning.atlas.layer import Score
from zf_lightning.deconv import Deconvnet, Units
from zf_lightning.deconv.contrast import projections_beside, strongest_others
from zf_lightning.errors import UserError

#: What is found, and what it means.
MEANINGS = {
    "alike": "cosine with the projection of the strongest other feature map at the same place; "
    "1: the picture could as well be that map's",
    "squares": "of two hidden squares, how often the one that the projection marks more lowers the "
    "unit more; 0.5 says nothing",
    "patches": "how often the patches tell a machine which of two further images excites the "
    "feature map; 0.5 is chance",
    "projections": "how often the projections tell a machine which of two further images excites "
    "the feature map; 0.5 is chance",
}
#: Images of a map whose projections are compared with another map's.
COMPARED = 2
#: Of squares, before each unit.
PAIRS = 4
#: Of the quiz about each map.
REFERENCES, TRIALS = 9, 10


@dataclass(frozen=True)
class Quiz:
    """Images that are asked about, and who answers."""

    images: ImageBatch
    encode: Encoder


class MapScorer:
    """Scores the feature maps of an atlas while it is projected (`zf_lightning.atlas.Scorer`).

    Args:
        deconvnet: that projects them.
        scores: some of `alike`, `squares` and `quiz`.
        maps: of each layer, for which squares and quiz are measured; they cost most.
        fill: hides pixels: `[3, H, W]`, in the network's input range.
        quiz: if it is asked for.
        seed: decides the squares.

    Raises UserError for another score.
    """

    def __init__(
        self,
        deconvnet: Deconvnet,
        scores: Sequence[str],
        maps: Mapping[str, Sequence[int]],
        *,
        fill: Tensor,
        quiz: Quiz | None = None,
        seed: int = 0,
    ) -> None:
        for score in scores:
            if score not in ("alike", "squares", "quiz"):
                raise UserError(f"There is no score {score}, only alike, squares and quiz.")
        self._deconvnet, self._scores, self._fill, self._seed = deconvnet, scores, fill, seed
        self._maps = {layer: frozenset(of_layer) for layer, of_layer in maps.items()}
        self._quiz = quiz
        if quiz is not None:
            inputs = quiz.images.inputs.split(deconvnet.batch_size)
            k = len(quiz.images.inputs)
            self._ordered = deconvnet.top_activations(inputs, layers=[*maps], k=k)

    def key(self, layer: str, maps: Sequence[int]) -> str:
        """All that the scores of some maps depend on, beside the network and the images."""
        grey = [float(value) for value in self._fill.mean((1, 2))]
        images = 0 if self._quiz is None else len(self._quiz.images.inputs)
        scored = [number for number in maps if number in self._maps[layer]]
        return json.dumps([sorted(self._scores), scored, grey, images, self._seed])

    def of_units(
        self, units: Units, ranks: Tensor, images: Tensor, projections: Tensor
    ) -> dict[str, Tensor]:
        """Samples `[U]` of units whose images are the ranks-th strongest of their maps."""
        found = {}
        if "alike" in self._scores:
            found["alike"] = self._alike(units, ranks, images, projections)
        if "squares" in self._scores:
            found["squares"] = self._squares(units, ranks, images, projections)
        return found

    def of_maps(self, layer: str, maps: Sequence[int]) -> dict[str, Tensor]:
        """Samples `[M, T]` of the quiz about some maps of a layer, NaN where it cannot be asked."""
        if self._quiz is None:
            return {}
        kinds = ("patches", "projections")
        found = {kind: torch.full((len(maps), TRIALS), torch.nan) for kind in kinds}
        ordered = self._ordered[layer].cpu()
        usable = askable(ordered.activations, k=REFERENCES, trials=TRIALS)
        chosen = [number for number in maps if number in self._maps[layer] and usable[number]]
        if chosen:
            asked = ask(
                self._deconvnet,
                self._quiz.images.inputs,
                self._quiz.images.display,
                layer,
                ordered,
                chosen,
                k=REFERENCES,
                trials=TRIALS,
            )
            right = answer(asked, self._quiz.encode)
            places = [maps.index(number) for number in chosen]
            for kind in kinds:
                found[kind][places] = right[kind].float()
        return found

    def _alike(self, units: Units, ranks: Tensor, images: Tensor, projections: Tensor) -> Tensor:
        found = torch.full((len(units),), torch.nan)
        (due,) = (ranks < COMPARED).nonzero(as_tuple=True)
        if len(due):
            some = units[due.to(images.device)]
            others = strongest_others(self._deconvnet, images, some, k=1)
            beside = projections_beside(self._deconvnet, images, some, others)[:, 0]
            own, other = projections[due].flatten(1).double(), beside.flatten(1).double()
            # Zero by zero where there is no other, or nothing is drawn: NaN.
            cosines = (own * other).sum(1) / (own.norm(dim=1) * other.norm(dim=1))
            found[due] = cosines.float().cpu()
        return found

    def _squares(self, units: Units, ranks: Tensor, images: Tensor, projections: Tensor) -> Tensor:
        found = torch.full((len(units),), torch.nan)
        maps = self._maps[units.layer]
        places = (units.images, units.feature_maps, units.rows, units.columns)
        for number, (image, feature_map, row, column) in enumerate(
            zip(*(values.tolist() for values in places), strict=True)
        ):
            # Of what is not drawn, nothing is marked.
            if feature_map not in maps or not bool(projections[number].any()):
                continue
            response = PlaceResponse(self._deconvnet, images[image], units.layer, row, column)
            squares = hide_two_squares(
                response,
                feature_map,
                response.of_image(self._fill),
                pairs=PAIRS,
                generator=torch.Generator().manual_seed(self._seed + int(ranks[number])),
            )
            marked = response.of_window(magnitude(projections[number : number + 1])[0])
            found[number] = squares.agreement(marked)[0]
        return found


def in_words(scores: Mapping[str, Score]) -> list[str]:
    """Each score in short."""
    return [f"{name} {score.mean:.2f}" for name, score in scores.items()]
