"""The tasks of the command line by name; each module has `run(config)`."""

from typing import NamedTuple


class Task(NamedTuple):
    """A task that can be named without importing it."""

    module: str
    description: str


_DESCRIPTIONS = {
    "train": "train a network, then test its best checkpoint",
    "test": "errors of a checkpoint, or of an ensemble, with one crop and with ten (Table 2)",
    "predict": "the five most probable classes of images without labels",
    "atlas": "what excites every feature map over a dataset (Fig. 2)",
    "evolution": "feature maps over the epochs of a run (Fig. 4)",
    "invariance": "features of translated, scaled and rotated images (Fig. 5)",
    "filters": "filters of the first layer (Fig. 6)",
    "occlusion": "the effect of a grey square over each place of an image (Fig. 7)",
    "correspondence": "the same part hidden in several images (Fig. 8, Table 1)",
    "sanity": "projections of networks with randomised layers",
    "faithfulness": "whether projections mark what their units respond to, and are their own",
    "knockout": "which answers change when a feature map is replaced",
    "quiz": "whether pictures of a feature map tell what excites it",
    "explore": "a local page: drop an image, look at its feature maps, hide parts of it",
    "verify": "an atlas compared with its network and images as they are now",
    "transfer": "frozen features and training from scratch on other data (Tables 4 to 7)",
    "overlap": "images shared by a transfer set and the pretraining set (Sec. 5.2)",
    "prepare": "rewrite a dataset as streaming shards",
    "workspace": "lay out a project in Weights & Biases, with a report of its ablations",
}
TASKS = {name: Task(f"{__name__}.{name}", text) for name, text in _DESCRIPTIONS.items()}
