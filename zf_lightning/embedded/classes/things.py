"""Clock, flower and house."""

import numpy as np

from zf_lightning.embedded.palette import shade
from zf_lightning.embedded.shapes import (
    box,
    ellipse,
    path,
    place,
    polygon,
    smooth,
    squircle,
    stroke,
)
from zf_lightning.embedded.sketch import Sketch


def clock(s: Sketch) -> None:
    """An alarm clock from the front: dial, hands, bells, feet."""
    p = s.palette
    radius, rim = s.vary(0.64, 0.74), s.vary(0.1, 0.15)
    lean, bell = s.vary(36, 46), s.vary(0.2, 0.27)
    for side in (1, -1):
        x, y = np.sin(np.deg2rad(32)), np.cos(np.deg2rad(32))
        leg = [(side * radius * 0.9 * x, radius * 0.9 * y),
               (side * (radius + 0.2) * x, (radius + 0.22) * y)]  # fmt: skip
        s.add(stroke(leg, 0.13, 0.08), shade(p.second, 0.75), relief=0.4)
        own = "left" if side > 0 else "right"  # it faces us: its right is our left
        s.part(f"{own}_foot", *(np.array(leg[1]) * 0.93))
    s.detail(stroke([(0, -radius), (0, -radius - 0.2)], 0.06), shade(p.second, 0.6))
    s.add(squircle(0, -radius - 0.2, 0.09, 0.06), p.accent, relief=0.6)
    for side in (1, -1):
        x, y = side * np.sin(np.deg2rad(lean)), -np.cos(np.deg2rad(lean))
        away = radius + 0.06
        s.detail(stroke([(x * radius * 0.9, y * radius * 0.9), (x * away, y * away)], 0.07),
                 shade(p.second, 0.6))  # fmt: skip
        dome = np.concatenate([
            ellipse(0, 0, bell * 1.15, bell * 0.95, n=40)[20:],
            np.array([[bell * 1.15, 0.0]]),
            ellipse(0, 0, bell * 1.15, bell * 0.2, n=40)[1:20],
        ])  # fmt: skip
        s.add(place(dome, x * away, y * away, turn=side * lean), p.second, relief=0.7)
        own = "left" if side > 0 else "right"
        middle = away + bell * 0.4
        s.part(f"{own}_bell", x * middle, y * middle)
    s.add(ellipse(0, 0, radius, radius, n=56), p.main, relief=0.5, skin=True)
    inner = radius - rim
    dial = p.pale if s.chance(0.35) else shade(p.accent, s.vary(0.45, 2.2))
    ink = p.deep if sum(dial) > 330 else p.pale
    s.add(ellipse(0, 0, inner, inner, n=56), dial, relief=0.3)
    numerals = int(s.rng.integers(3))
    for hour in range(12):
        angle = np.deg2rad(30 * hour)
        x, y = np.sin(angle), -np.cos(angle)
        if numerals == 0 and hour % 3:
            s.detail(ellipse(0.84 * inner * x, 0.84 * inner * y, 0.022, 0.022), ink)
        else:
            start = 0.72 if hour % 3 == 0 else 0.82
            tick = [(start * inner * x, start * inner * y), (0.93 * inner * x, 0.93 * inner * y)]
            s.detail(stroke(tick, 0.05 if hour % 3 == 0 else 0.025), ink)
    time = s.vary(0, 12)
    hour_angle, minute_angle = np.deg2rad(30 * time), np.deg2rad(360 * (time % 1))
    hand = p.main if s.chance(0.3) else ink
    for name, angle, reach, width in (
        ("hour_hand", hour_angle, 0.5, 0.09),
        ("minute_hand", minute_angle, 0.76, 0.06),
    ):
        x, y = inner * reach * np.sin(angle), -inner * reach * np.cos(angle)
        s.detail(stroke([(-0.15 * x, -0.15 * y), (0.5 * x, 0.5 * y), (x, y)], width, width * 0.6),
                 hand, relief=0.7)  # fmt: skip
        s.part(name, 0.7 * x, 0.7 * y)
    s.add(ellipse(0, 0, 0.06, 0.06), p.second, relief=0.9)
    s.part("dial", 0, 0)


def flower(s: Sketch) -> None:
    """A flower with its stem: petals, centre, stem, leaf."""
    p = s.palette
    x, y = s.vary(-0.14, 0.14), s.vary(-0.48, -0.38)
    foot, bend = s.vary(-0.15, 0.15), s.vary(-0.18, 0.18)
    green = p.second  # any colour: stems must not tell the class
    stem = path((foot, 1.0), (foot * 0.5 + bend, 0.5), (x, y))
    s.add(stroke(stem, 0.085, 0.06), green, relief=0.4)
    s.part("stem", *stem[len(stem) * 5 // 8])
    sides = (1, -1) if s.chance(0.65) else ((1,) if s.chance(0.5) else (-1,))
    for k, side in enumerate(sides):
        at = stem[len(stem) * (3 - k) // 8]
        length, lift = s.vary(0.4, 0.58), s.vary(15, 50)
        leaf = smooth((0, 0), (length * 0.45, -0.15), (length, 0), (length * 0.45, 0.15),
                      tension=0.4)  # fmt: skip
        vein = stroke([(0, 0), (length * 0.85, 0)], 0.025)
        turn = -lift if side > 0 else 180 + lift
        s.add(place(leaf, *at, turn=turn), shade(green, s.vary(0.85, 1.2)), relief=0.6)
        s.detail(place(vein, *at, turn=turn), shade(green, 0.55), relief=0.6)
        if k == 0:
            angle = np.deg2rad(turn)
            s.part("leaf", at[0] + 0.5 * length * np.cos(angle),
                   at[1] + 0.5 * length * np.sin(angle))  # fmt: skip
    petals, long = int(s.rng.integers(5, 10)), s.vary(0.5, 0.6)
    wide = s.vary(0.85, 1.15) * long * np.pi / petals * 0.62
    heart, start = s.vary(0.16, 0.24), s.vary(-18, 18)
    pointed = s.chance(0.4)
    if s.chance(0.35):  # a second row behind the first
        for k in range(petals):
            turn = start + 360 * (k + 0.5) / petals
            s.add(place(ellipse(0, -long * 0.6, wide * 0.9, long * 0.45), x, y, turn=turn),
                  shade(p.main, 0.75), relief=0.4)  # fmt: skip
    for k in range(petals):
        turn = start + 360 * k / petals
        if pointed:
            petal = smooth((0, 0), (wide, -long * 0.5), (0, -long), (-wide, -long * 0.5),
                           tension=0.35)  # fmt: skip
        else:
            petal = smooth((0, 0), (wide * 0.9, -long * 0.55), (wide * 0.75, -long * 0.9),
                           (0, -long), (-wide * 0.75, -long * 0.9), (-wide * 0.9, -long * 0.55),
                           tension=0.4)  # fmt: skip
        s.add(place(petal, x, y, turn=turn), p.main, relief=0.7, skin=True)
        crease = stroke([(0, -heart), (0, -long * 0.75)], 0.03, 0.012)
        s.detail(place(crease, x, y, turn=turn), shade(p.main, 0.65), relief=0.7)
    angle = np.deg2rad(start)
    s.part("petal", x + 0.68 * long * np.sin(angle), y - 0.68 * long * np.cos(angle))
    s.add(ellipse(x, y, heart, heart), p.accent, relief=1.0)
    for k in range(14):
        away, angle = heart * 0.75 * np.sqrt(k / 14), 2.4 * k
        dot = ellipse(x + away * np.cos(angle), y + away * np.sin(angle), 0.024, 0.024, n=10)
        s.detail(dot, shade(p.accent, 0.55), relief=1.0)
    s.part("centre", x, y)


def house(s: Sketch) -> None:
    """A house from the front: roof, chimney, door, window."""
    p = s.palette
    half, eaves, base = s.vary(0.58, 0.74), s.vary(-0.2, 0.0), s.vary(0.72, 0.86)
    ridge, over = eaves - s.vary(0.5, 0.72), s.vary(0.1, 0.2)
    flat = s.vary(0.0, 0.45) if s.chance(0.6) else 0.0  # length of the ridge
    chimney = s.vary(0.32, 0.5) * half
    if s.chance(0.5):
        chimney = -chimney
    slope = (abs(chimney) - flat * half) / (half + over - flat * half)
    roof_y = ridge + max(0.0, slope) * (eaves - ridge)
    tall, stack = s.vary(0.2, 0.34), s.vary(0.085, 0.12)
    s.add(box(chimney - stack, roof_y - tall, chimney + stack, eaves - 0.02), p.accent, relief=0.4)
    s.add(box(chimney - stack - 0.035, roof_y - tall - 0.03, chimney + stack + 0.035,
              roof_y - tall + 0.06), shade(p.accent, 0.7), relief=0.5)  # fmt: skip
    s.part("chimney", chimney, roof_y - tall * 0.42)
    s.add(box(-half, eaves - 0.1, half, base), p.main, relief=0.4, skin=True)
    roof = polygon((-half - over, eaves), (-half * flat - 0.01, ridge), (half * flat + 0.01, ridge),
                   (half + over, eaves))  # fmt: skip
    s.add(roof, p.second, relief=0.7)
    rows = int(s.rng.integers(3, 6))
    for k in range(1, rows):
        part = k / rows
        y = ridge + part * (eaves - ridge)
        edge = (half * flat + part * (half + over - half * flat)) * 0.97
        s.detail(stroke([(-edge, y), (edge, y)], 0.025), shade(p.second, 0.62), relief=0.7)
    s.part("roof", s.vary(-0.1, 0.1), ridge + 0.6 * (eaves - ridge))
    door_x = s.vary(0.2, 0.55) * half * (1 if s.chance(0.5) else -1)
    wide, high = s.vary(0.12, 0.16), s.vary(0.42, 0.54)
    wood = p.accent if s.chance(0.5) else shade(p.second, 0.7)
    door = box(door_x - wide, base - high, door_x + wide, base)
    if s.chance(0.4):
        door = np.concatenate([
            ellipse(door_x, base - high, wide, wide, n=24)[12:],
            [[door_x + wide, base - high], [door_x + wide, base], [door_x - wide, base]],
        ])  # fmt: skip
    s.add(door, wood, relief=0.2)
    s.detail(ellipse(door_x + wide * 0.6, base - high * 0.45, 0.028, 0.028), p.pale, relief=0.6)
    s.part("door", door_x, base - high * 0.5)
    side = -1 if door_x > 0 else 1
    glass = p.pale if s.chance(0.4) else shade(p.accent, s.vary(0.4, 1.7))
    size = s.vary(0.13, 0.17)
    window_x, window_y = side * half * s.vary(0.42, 0.52), eaves + s.vary(0.3, 0.4)
    _window(s, window_x, window_y, size, glass)
    s.part("window", window_x - size * 0.45, window_y - size * 0.45)
    if s.chance(0.5) and ridge < -0.55:
        s.add(ellipse(0, eaves - 0.2, 0.1, 0.1), glass, relief=0.3)


def _window(s: Sketch, x: float, y: float, size: float, glass: tuple[float, float, float]) -> None:
    frame = s.palette.pale if s.chance(0.5) else shade(s.palette.second, 0.6)
    s.add(box(x - size * 1.15, y - size * 1.15, x + size * 1.15, y + size * 1.15), frame)
    s.detail(box(x - size, y - size, x + size, y + size), glass, relief=0.2)
    s.detail(stroke([(x, y - size), (x, y + size)], 0.035), frame, relief=0.6)
    s.detail(stroke([(x - size, y), (x + size, y)], 0.035), frame, relief=0.6)
