"""The scores that an option asks for beside an atlas's pictures."""

from collections.abc import Mapping, Sequence

import torch

from zf_lightning.analysis.map_scores import MapScorer, Quiz
from zf_lightning.data import LabelledImages
from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.deconv import Deconvnet
from zf_lightning.inspection.encoder import network_encoder
from zf_lightning.inspection.top_images import load_top_images, spread_indices
from zf_lightning.training.module import ImageClassifier

#: Of the split, among which the quiz looks for images that excite a feature map.
IMAGES = 100
#: Of hidden pixels, 0..255.
GREY = 128.0


def build_scorer(
    scores: Sequence[str],
    deconvnet: Deconvnet,
    classifier: ImageClassifier,
    maps: Mapping[str, Sequence[int]],
    files: LabelledImages,
    *,
    seed: int,
) -> MapScorer | None:
    """What measures the scores of a network as it is now; None where none is asked for.

    Args:
        maps: of each layer, for which squares and quiz are measured.
        files: the split of the atlas.
    """
    if not scores:
        return None
    grey = torch.full((1, 3, STORED_SIZE, STORED_SIZE), GREY, device=classifier.device)
    quiz = None
    with torch.no_grad():
        fill = classifier.preprocessing(grey)[0]
        if "quiz" in scores:
            images = load_top_images(files, spread_indices(files, IMAGES), classifier)
            quiz = Quiz(images, network_encoder(deconvnet.graph, classifier.preprocessing))
    return MapScorer(deconvnet, scores, maps, fill=fill, quiz=quiz, seed=seed)
