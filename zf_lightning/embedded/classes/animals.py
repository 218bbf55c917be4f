"""Bird, butterfly and fish."""

import numpy as np

from zf_lightning.embedded.palette import shade
from zf_lightning.embedded.shapes import ellipse, mirror, path, polygon, smooth, squircle, stroke
from zf_lightning.embedded.sketch import Sketch


def bird(s: Sketch) -> None:
    """A bird from its side: beak, eye, wing, tail, feet."""
    p = s.palette
    plump, long_tail = s.vary(0.36, 0.5), s.vary(0.45, 0.8)
    head, head_x, head_y = s.vary(0.21, 0.29), s.vary(-0.56, -0.46), s.vary(-0.5, -0.36)
    spread, droop = s.vary(0.1, 0.22), s.vary(-0.15, 0.3)
    for x in (-0.06, 0.12):
        foot = plump + s.vary(0.24, 0.34)
        s.detail(stroke([(x, plump * 0.7), (x - 0.03, foot)], 0.05), p.accent)
        for toe in (-0.14, -0.03, 0.09):
            s.detail(stroke([(x - 0.03, foot - 0.02), (x + toe, foot + 0.06)], 0.045), p.accent)
    s.part("feet", 0.0, plump + 0.25)
    s.detail(stroke([(-0.1, plump + 0.25), (0.14, plump + 0.25)], 0.05), p.accent)
    tip_x, tip_y = 0.45 + long_tail, droop * 0.8 - 0.1
    for k in (-1, 1, 0):
        tail = smooth(
            (0.3, -0.1), (tip_x, tip_y + (k - 0.35) * spread), (tip_x + 0.06, tip_y + k * spread),
            (tip_x, tip_y + (k + 0.35) * spread), (0.3, 0.1), tension=0.35,
        )  # fmt: skip
        s.add(tail, shade(p.second, 1 - 0.12 * abs(k)), relief=0.3)
    s.part("tail", tip_x * 0.85 + 0.05, tip_y * 0.85)
    size = s.vary(0.85, 1.3)
    bill = polygon(
        (head_x - 0.1, head_y - 0.1 * size),
        (head_x - head - 0.24 * size, head_y + 0.05),
        (head_x - 0.1, head_y + 0.13 * size),
    )
    s.add(bill, p.accent, relief=0.6)
    s.detail(
        stroke([(head_x - head - 0.2 * size, head_y + 0.045), (head_x, head_y + 0.03)], 0.018),
        shade(p.accent, 0.5),
    )
    s.part("beak", head_x - head - 0.06 * size, head_y + 0.04)
    body = smooth(
        (head_x - head * 0.75, head_y + head * 0.55), (-0.5, 0.12), (-0.1, plump),
        (0.3, plump * 0.6), (0.52, 0.02), (0.25, -plump * 0.6),
        (head_x + head * 0.9, head_y + 0.05),
    )  # fmt: skip
    s.add(body, p.main, relief=0.5, skin=True)
    s.add(ellipse(head_x, head_y, head, head * 0.95), p.main, relief=0.6, skin=True)
    s.detail(  # covers the outline of the head where it joins the body
        smooth((head_x - head * 0.6, head_y + head * 0.5), (-0.44, 0.1), (-0.1, plump * 0.7),
               (0.1, 0.0), (head_x + head * 0.6, head_y + 0.03)),
        p.main if s.chance(0.5) else shade(p.main, 1.5),
    )  # fmt: skip
    if s.chance(0.4):
        for k in range(3):
            tuft = [(head_x + 0.02, head_y - head * 0.8), (head_x + 0.1 * k, head_y - head - 0.16)]
            s.detail(stroke(tuft, 0.06, 0.02), p.second)
    wing_y = s.vary(-0.06, 0.06)
    wing = smooth(
        (-0.3, wing_y - 0.04), (0.0, wing_y - 0.2), (0.35, wing_y - 0.06), (0.6, wing_y + 0.12),
        (0.25, wing_y + 0.2), (-0.1, wing_y + 0.18),
    )  # fmt: skip
    s.add(wing, p.second, relief=0.8, skin=True)
    for k in range(3):
        feather = path(
            (0.0, wing_y - 0.06 + 0.075 * k), (0.22, wing_y + 0.01 + 0.06 * k),
            (0.42, wing_y + 0.06 + 0.03 * k),
        )  # fmt: skip
        s.detail(stroke(feather, 0.02), shade(p.second, 0.55))
    s.part("wing", 0.1, wing_y + 0.02)
    _eye(s, head_x - 0.04, head_y - 0.05, head * s.vary(0.3, 0.4), iris=0.0)
    s.part("eye", head_x - 0.04, head_y - 0.05)


def butterfly(s: Sketch) -> None:
    """A butterfly from above, head up: four wings, body, head."""
    p = s.palette
    reach, lift, lower = s.vary(0.8, 1.0), s.vary(0.55, 0.8), s.vary(0.5, 0.75)
    depth, waist = s.vary(0.5, 0.75), s.vary(0.02, 0.12)
    upper = smooth(
        (0.03, -0.12), (reach * 0.45, -lift * 0.85), (reach, -lift), (reach * 0.97, -lift * 0.35),
        (reach * 0.6, waist), (0.05, 0.08),
    )  # fmt: skip
    hind = smooth(
        (0.03, 0.02), (lower * 0.7, 0.05), (lower * 1.05, depth * 0.55), (lower * 0.62, depth),
        (lower * 0.25, depth * 0.72), (0.05, 0.3),
    )  # fmt: skip
    inner = s.vary(0.62, 0.78)
    spots = int(s.rng.integers(1, 4))
    spot_size, spot_colour = s.vary(0.06, 0.1), p.pale if s.chance(0.6) else p.accent
    hind_colour = p.main if s.chance(0.4) else p.second
    rim = shade(p.main, 0.4) if s.chance(0.6) else p.accent
    for side in (1, -1):
        turn = mirror if side < 0 else np.asarray
        s.add(turn(hind), rim, relief=0.3)
        s.detail(turn(hind * 0.8 + [0.03, 0.03]), hind_colour, relief=0.45)
        s.detail(turn(ellipse(lower * 0.62, depth * 0.55, 0.11, 0.13)), spot_colour)
        s.detail(turn(ellipse(lower * 0.62, depth * 0.55, 0.05, 0.06)), p.deep)
        s.add(turn(upper), rim, relief=0.5)
        s.add(turn(upper * inner + [0.07, -0.08]), p.main, outlined=False, relief=0.65, skin=True)
        for k in range(spots):
            x, y = reach * (0.84 - 0.02 * k), -lift * (0.82 - 0.27 * k)
            s.detail(turn(ellipse(x, y, spot_size, spot_size)), spot_colour, relief=0.6)
        for k in range(3):
            vein = [(0.08, -0.07), (reach * (0.5 + 0.12 * k), -lift * (0.72 - 0.3 * k))]
            s.detail(turn(stroke(vein, 0.025, 0.012)), shade(p.main, 0.55), relief=0.6)
        s.part_of_pair("upper_wing", side * reach * 0.55, -lift * 0.45, from_above=True)
        s.part_of_pair("lower_wing", side * lower * 0.55, depth * 0.45, from_above=True)
    length = s.vary(0.38, 0.55)
    for side in (1, -1):
        x, y = side * s.vary(0.2, 0.32), -0.36 - s.vary(0.3, 0.42)
        feeler = path((0, -0.3), (side * 0.08, (y - 0.3) / 2), (x, y))
        s.detail(stroke(feeler, 0.03), p.deep)
        s.detail(ellipse(x, y, 0.035, 0.035), p.deep)
    trunk = shade(p.second, 0.5) if s.chance(0.5) else p.deep
    s.add(squircle(0, length * 0.35, 0.075, length * 0.8, power=2.2), trunk, relief=0.9)
    for k in range(4):
        y = 0.08 + 0.1 * k
        s.detail(stroke([(-0.06, y), (0.06, y)], 0.022), shade(trunk, 1.6), relief=0.9)
    s.add(ellipse(0, -0.26, 0.1, 0.1), trunk, relief=1.0)
    s.part("body", 0, length * 0.35)
    s.part("head", 0, -0.26)


def fish(s: Sketch) -> None:
    """A fish from its side: eye, mouth, tail, dorsal and pectoral fin."""
    p = s.palette
    deep, long = s.vary(0.34, 0.52), s.vary(0.66, 0.78)
    fork, reach = s.vary(0.28, 0.46), s.vary(0.26, 0.4)
    tail = smooth(
        (long * 0.8, -0.05), (long + reach, -fork), (long + reach * 0.62, 0), (long + reach, fork),
        (long * 0.8, 0.05), tension=0.22,
    )  # fmt: skip
    s.add(tail, p.second, relief=0.35)
    for k in (-0.6, 0.0, 0.6):
        ray = [(long, 0.05 * k), (long + reach * 0.6, fork * k * 0.9)]
        s.detail(stroke(ray, 0.022), shade(p.second, 0.6))
    s.part("tail", long + reach * 0.4, 0)
    peak, back = s.vary(-0.25, 0.1), deep + s.vary(0.14, 0.3)
    dorsal = smooth(
        (-0.35, -deep * 0.7), (peak, -back), (0.42, -deep - 0.02), (0.45, -deep * 0.4), tension=0.25
    )
    s.add(dorsal, p.second, relief=0.35)
    for k in range(4):
        ray = [(peak + 0.1 * k, -deep * 0.8), (peak + 0.07 + 0.1 * k, -back + 0.05 + 0.05 * k)]
        s.detail(stroke(ray, 0.02), shade(p.second, 0.6))
    s.part("dorsal_fin", peak * 0.6 + 0.04, -(deep + back) / 2)
    belly = smooth((0.1, deep * 0.7), (0.32, deep + 0.16), (0.4, deep * 0.5), tension=0.25)
    s.add(belly, p.second, relief=0.35)
    snout = s.vary(-0.05, 0.08)
    body = smooth(
        (-0.9, snout), (-0.62, -deep * 0.72), (-0.15, -deep), (0.4, -deep * 0.68), (long, -0.1),
        (long, 0.1), (0.4, deep * 0.68), (-0.15, deep), (-0.62, deep * 0.72),
    )  # fmt: skip
    s.add(body, p.main, relief=0.5, skin=True)
    pattern = int(s.rng.integers(3))
    if pattern == 0:
        for x in (0.0, 0.25, 0.5):
            half = deep * (0.85 - 0.9 * max(0.0, x - 0.1))
            s.detail(stroke(path((x, -half), (x + 0.06, 0), (x, half)), 0.1, 0.08), p.accent)
    elif pattern == 1:
        for x in np.arange(-0.1, 0.62, 0.17):
            for y in np.arange(-2, 2.5) * 0.14:
                if abs(y) < deep * (0.75 - 0.8 * max(0.0, x)):
                    scale = path((x, y - 0.07), (x + 0.07, y), (x, y + 0.07))
                    s.detail(stroke(scale, 0.022), shade(p.main, 0.55))
    gill_x = s.vary(-0.42, -0.32)
    gill = path((gill_x, -deep * 0.6), (gill_x + 0.1, 0), (gill_x, deep * 0.62))
    s.detail(stroke(gill, 0.04, 0.02), shade(p.main, 0.5), relief=0.6)
    fin_y = s.vary(0.08, 0.16)
    fin = smooth((-0.22, fin_y - 0.06), (0.12, fin_y - 0.02), (0.16, fin_y + 0.2),
                 (-0.16, fin_y + 0.1), tension=0.3)  # fmt: skip
    s.add(fin, p.second, relief=0.9)
    s.part("pectoral_fin", -0.01, fin_y + 0.05)
    lips = path((-0.9, snout + 0.04), (-0.78, snout + 0.09), (-0.7, snout + s.vary(0.05, 0.14)))
    s.detail(stroke(lips, 0.045, 0.03), p.deep, relief=0.6)
    s.part("mouth", -0.78, snout + 0.08)
    eye_y = -deep * s.vary(0.22, 0.38)
    _eye(s, -0.56, eye_y, s.vary(0.09, 0.13), iris=0.75)
    s.part("eye", -0.56, eye_y)


def _eye(s: Sketch, x: float, y: float, radius: float, *, iris: float) -> None:
    p = s.palette
    s.add(ellipse(x, y, radius, radius), p.pale, relief=0.8)
    if iris:
        s.detail(ellipse(x, y, radius * iris, radius * iris), p.accent, relief=0.8)
    s.detail(ellipse(x, y, radius * 0.52, radius * 0.52), p.deep, relief=0.8)
    glint = radius * 0.2
    s.detail(ellipse(x - glint, y - glint, glint, glint), (255, 255, 255), relief=0.8)
