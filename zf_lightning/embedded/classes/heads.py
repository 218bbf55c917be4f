"""Heads from the front: cat and face."""

import numpy as np

from zf_lightning.embedded.palette import shade
from zf_lightning.embedded.shapes import ellipse, path, place, smooth, stroke, symmetric
from zf_lightning.embedded.sketch import Sketch


def cat(s: Sketch) -> None:
    """A cat's head from the front: eyes, nose, mouth, ears."""
    p = s.palette
    wide, high = s.vary(0.72, 0.88), s.vary(0.58, 0.7)
    ear_x, ear_up, ear_w = s.vary(0.42, 0.56), s.vary(0.45, 0.65), s.vary(0.24, 0.32)
    inner = p.accent if s.chance(0.6) else shade(p.main, 0.6)
    for side in (1, -1):
        tip_x = side * (ear_x + s.vary(0.06, 0.16))
        base, tip_y = -high * 0.6, -high * 0.62 - ear_up
        ear = smooth(
            (side * (ear_x - ear_w), base - 0.12), (tip_x, tip_y),
            (side * (ear_x + ear_w), base + 0.22), (side * ear_x, 0), tension=0.12,
        )  # fmt: skip
        s.add(ear, p.main, relief=0.3, skin=True)
        s.detail(place(ear - [side * ear_x, base], side * ear_x, base, size=0.6), inner)
        s.part_of_pair("ear", (side * ear_x + tip_x) / 2, (base + tip_y) / 2 + 0.04)
    head = smooth(*symmetric(
        (0, -high), (wide * 0.62, -high * 0.86), (wide * 0.97, -high * 0.1),
        (wide * 0.86, high * 0.45), (wide * 0.4, high * 0.93), (0, high),
    ))  # fmt: skip
    s.add(head, p.main, relief=0.5, skin=True)
    if s.chance(0.6):
        for x in (-0.17, 0.0, 0.17):
            s.detail(stroke([(x, -high * 0.93), (x * 0.7, -high * 0.5)], 0.09, 0.03), p.second)
        for side in (1, -1):
            for y in (0.0, 0.18):
                mark = [(side * wide * 0.92, y), (side * wide * 0.66, y + 0.04)]
                s.detail(stroke(mark, 0.08, 0.03), p.second)
    muzzle = p.pale if s.chance(0.4) else shade(p.main, 1.45)
    nose_y = s.vary(0.08, 0.2)
    for side in (1, -1):
        s.detail(ellipse(side * 0.15, nose_y + 0.19, 0.22, 0.17), muzzle, relief=0.75)
    s.detail(ellipse(0, nose_y + 0.33, 0.14, 0.12), muzzle, relief=0.7)
    eye_x, eye_y, eye = s.vary(0.32, 0.4), s.vary(-0.2, -0.06), s.vary(0.14, 0.19)
    tilt, slit = s.vary(5, 25), s.vary(0.2, 0.65)
    iris = p.accent if s.chance(0.6) else p.second
    for side in (1, -1):
        almond = smooth((-eye * 1.25, 0), (0, -eye * 0.9), (eye * 1.25, 0), (0, eye * 0.85))
        s.add(place(almond, side * eye_x, eye_y, turn=-side * tilt), iris, relief=0.7)
        s.detail(ellipse(side * eye_x, eye_y, eye * slit, eye * 0.8), p.deep, relief=0.7)
        s.detail(ellipse(side * eye_x - 0.04, eye_y - 0.06, 0.035, 0.035), (255, 255, 255))
        s.part_of_pair("eye", side * eye_x, eye_y)
    for side in (1, -1):
        lip = path((0, nose_y + 0.1), (side * 0.04, nose_y + 0.24), (side * 0.2, nose_y + 0.25))
        s.detail(stroke(lip, 0.035), p.deep, relief=0.75)
        for k in (-1, 0, 1):
            whisker = path(
                (side * 0.3, nose_y + 0.18 + 0.06 * k),
                (side * 0.62, nose_y + 0.15 + 0.11 * k), (side * 0.98, nose_y + 0.2 + 0.17 * k),
            )  # fmt: skip
            s.detail(stroke(whisker, 0.026, 0.012), p.deep if s.chance(0.9) else p.pale)
    s.part("mouth", 0, nose_y + 0.24)
    s.add(
        smooth((-0.11, nose_y - 0.04), (0.11, nose_y - 0.04), (0, nose_y + 0.11), tension=0.25),
        p.second if s.chance(0.5) else p.accent,
        relief=0.95,
    )
    s.part("nose", 0, nose_y + 0.01)


def face(s: Sketch) -> None:
    """A human face from the front: eyes, nose, mouth, hair."""
    p = s.palette
    wide, high, jaw = s.vary(0.56, 0.7), s.vary(0.76, 0.88), s.vary(0.5, 0.78)
    hair, style = p.second, int(s.rng.integers(4))
    if style == 1:  # long
        length = s.vary(0.3, 0.85)
        s.add(
            smooth(*symmetric((0, -high * 1.22), (wide * 1.15, -high * 0.75), (wide * 1.3, 0.1),
                              (wide * 1.25, length), (0, length * 0.8))),
            hair, relief=0.2, skin=True,
        )  # fmt: skip
    elif style == 2:  # curls
        for angle in np.linspace(150, 390, 11):
            x, y = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
            s.add(ellipse(wide * 1.05 * x, high * 0.95 * y - 0.05, 0.22, 0.22), hair, relief=0.3)
    elif style == 3:  # buns
        for side in (1, -1):
            s.add(ellipse(side * wide * 0.95, -high * 0.85, 0.22, 0.22), hair, relief=0.3)
    for side in (1, -1):
        s.add(ellipse(side * wide * 0.98, 0.02, 0.12, 0.18), p.main, relief=0.4)
        s.detail(ellipse(side * wide * 1.0, 0.03, 0.055, 0.1), shade(p.main, 0.72))
    head = smooth(*symmetric(
        (0, -high), (wide * 0.75, -high * 0.78), (wide, -0.08), (wide * 0.9, high * 0.4),
        (wide * jaw, high * 0.82), (0, high),
    ))  # fmt: skip
    s.add(head, p.main, relief=0.5, skin=s.chance(0.3))
    for side in (1, -1):
        s.detail(ellipse(side * wide * 0.58, 0.24, 0.15, 0.11), shade(p.main, 1.25))
    line = s.vary(-0.62, -0.42)  # where the hair ends on the forehead
    part_x = s.vary(-0.4, 0.4) * wide
    fringe = smooth(
        (0, -high * 1.14), (wide * 0.82, -high * 0.9), (wide * 1.06, -0.22), (wide * 0.82, line),
        (part_x, line * s.vary(0.85, 1.25)), (-wide * 0.82, line), (-wide * 1.06, -0.22),
        (-wide * 0.82, -high * 0.9), tension=0.42,
    )  # fmt: skip
    s.add(fringe, hair, relief=0.75, skin=True)
    s.part("hair", 0, (line - high * 1.12) / 2 - 0.04)
    eye_x, eye_y, eye = wide * s.vary(0.4, 0.5), s.vary(-0.16, -0.04), s.vary(0.1, 0.145)
    brow, slant = eye_y - eye - s.vary(0.05, 0.1), s.vary(-0.07, 0.05)
    look_x, look_y = s.vary(-0.03, 0.03), s.vary(-0.02, 0.02)
    open_eye = s.vary(0.72, 1.05)
    for side in (1, -1):
        x = side * eye_x
        s.add(ellipse(x, eye_y, eye * 1.25, eye * open_eye), p.pale, relief=0.6)
        s.detail(ellipse(x + look_x, eye_y + look_y, eye * 0.68, eye * 0.68), p.accent)
        s.detail(ellipse(x + look_x, eye_y + look_y, eye * 0.38, eye * 0.38), p.deep)
        s.detail(ellipse(x + look_x - 0.03, eye_y + look_y - 0.03, 0.028, 0.028), (255, 255, 255))
        arch = path((x - side * 0.14, brow + slant), (x, brow - 0.05), (x + side * 0.17, brow))
        s.detail(stroke(arch, 0.06, 0.035), shade(hair, 0.7), relief=0.6)
        s.part_of_pair("eye", x, eye_y)
    nose_y, nose = s.vary(0.16, 0.28), s.vary(0.09, 0.15)
    bridge = symmetric(
        (0, eye_y), (nose * 0.55, nose_y - 0.08), (nose, nose_y + 0.02), (0, nose_y + 0.08)
    )
    s.detail(smooth(*bridge, tension=0.4), shade(p.main, 0.84), relief=1.0)
    for side in (1, -1):
        s.detail(ellipse(side * nose * 0.5, nose_y + 0.035, 0.028, 0.02), p.deep, relief=0.9)
    s.part("nose", 0, nose_y)
    mouth_y, mouth, smile = s.vary(0.46, 0.55), s.vary(0.18, 0.3), s.vary(-0.03, 0.12)
    gape = s.vary(0.04, 0.16)
    lips = smooth(
        (-mouth, mouth_y - smile), (0, mouth_y - 0.03), (mouth, mouth_y - smile),
        (0, mouth_y + gape), tension=0.5,
    )  # fmt: skip
    s.add(lips, shade(p.accent, 0.75), relief=0.6)
    if gape > 0.09:
        s.detail(stroke(path((-mouth * 0.7, mouth_y - smile * 0.5), (0, mouth_y + 0.01),
                             (mouth * 0.7, mouth_y - smile * 0.5)), 0.05), p.pale)  # fmt: skip
    s.part("mouth", 0, mouth_y + gape * 0.4)
    if s.chance(0.25):
        for side in (1, -1):
            ring = np.concatenate([
                ellipse(side * eye_x, eye_y, eye * 1.75, eye * 1.6),
                ellipse(side * eye_x, eye_y, eye * 1.75, eye * 1.6)[:1],
            ])  # fmt: skip
            s.detail(stroke(ring[:19], 0.035), p.deep, relief=0.9)
            s.detail(stroke(ring[18:], 0.035), p.deep, relief=0.9)
        gap = eye_x - eye * 1.7
        s.detail(stroke([(-gap, eye_y), (gap, eye_y)], 0.035), p.deep, relief=0.9)
