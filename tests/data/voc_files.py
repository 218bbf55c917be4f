"""A small PASCAL VOC on the disk."""

from pathlib import Path

from tests.conftest import write_images


def box(name: str, size: int, *, difficult: bool = False) -> str:
    """An object of an annotation, in a square box."""
    return (
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox>"
        f"<xmin>1</xmin><ymin>1.5</ymin><xmax>{1 + size}</xmax><ymax>{1.5 + size}</ymax></bndbox>"
        "</object>"
    )


def annotate(folder: Path, image: str, *objects: str) -> None:
    """Write the annotation of an image."""
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    text = f"<annotation><filename>{image}.jpg</filename>{''.join(objects)}</annotation>"
    (folder / "Annotations" / f"{image}.xml").write_text(text)


def voc(folder: Path, *, test: bool = False) -> None:
    """Three training images, one to validate on, and two to test on if `test`."""
    sets = {"train": ["a1", "a2", "a3"], "val": ["b1"]}
    sets["trainval"] = sets["train"] + sets["val"]
    annotate(folder, "a1", box("person", 20), box("dog", 40), box("cat", 90, difficult=True))
    annotate(folder, "a2", box("tvmonitor", 30), box("tvmonitor", 10, difficult=True))
    annotate(folder, "a3", box("sofa", 5, difficult=True))
    annotate(folder, "b1", box("dog", 10), box("person", 10))
    if test:
        sets["test"] = ["c1", "c2"]
        annotate(folder, "c1", box("bird", 3))
        annotate(folder, "c2", box("bus", 3))
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for name, images in sets.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(images) + "\n")
        for image in images:
            write_images(folder / "JPEGImages", 1, hue=0)
            (folder / "JPEGImages" / "000.png").rename(folder / "JPEGImages" / f"{image}.jpg")
