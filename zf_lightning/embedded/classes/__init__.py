"""The ten classes and their parts.

`right_` and `left_` are the subject's own sides, as in the paper's Table 1, never the viewer's:
the right eye of a face, which looks at us, is on the left of an upright image; the right wing of a
butterfly, which we see from above, is on the right. Mirroring an image swaps the two names.
"""

from collections.abc import Callable

from zf_lightning.embedded.classes.animals import bird, butterfly, fish
from zf_lightning.embedded.classes.heads import cat, face
from zf_lightning.embedded.classes.things import boat, car, clock, flower, house
from zf_lightning.embedded.sketch import Sketch

SKETCHERS: dict[str, Callable[[Sketch], None]] = {
    sketcher.__name__: sketcher
    for sketcher in (bird, boat, butterfly, car, cat, clock, face, fish, flower, house)
}

CLASSES: tuple[str, ...] = tuple(sorted(SKETCHERS))
"""Class names in alphabetical order; a label is a position in it."""

PARTS: dict[str, tuple[str, ...]] = {
    name: tuple(parts.split())
    for name, parts in {
        "bird": "beak eye feet tail wing",
        "boat": "hull jib main_sail mast pennant",
        "butterfly": "body head left_lower_wing left_upper_wing right_lower_wing right_upper_wing",
        "car": "door_handle front_wheel front_window headlight rear_wheel rear_window",
        "cat": "left_ear left_eye mouth nose right_ear right_eye",
        "clock": "dial hour_hand left_bell left_foot minute_hand right_bell right_foot",
        "face": "hair left_eye mouth nose right_eye",
        "fish": "dorsal_fin eye mouth pectoral_fin tail",
        "flower": "centre leaf petal stem",
        "house": "chimney door roof window",
    }.items()
}
"""Names of the parts of each class, in alphabetical order; every image of a class has them all."""


def has_sides(name: str) -> bool:
    """Whether a class names a right and a left, so that it must not be drawn mirrored."""
    return any(part.startswith(("left_", "right_")) for part in PARTS[name])
