"""Boat, car, clock, flower and house."""

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
)  # fmt: skip
from zf_lightning.embedded.sketch import Sketch


def boat(s: Sketch) -> None:
    """A sailing boat from its side: hull, main sail, jib, mast, pennant."""
    p = s.palette
    mast_x, top, deck = s.vary(-0.12, 0.1), s.vary(-0.95, -0.8), s.vary(0.38, 0.48)
    bow, stern, keel = s.vary(0.75, 0.95), s.vary(0.62, 0.8), deck + s.vary(0.3, 0.42)
    s.add(box(mast_x - 0.03, top, mast_x + 0.03, deck + 0.05), shade(p.accent, 0.6), relief=0.6)
    flag, flag_w = s.vary(0.13, 0.2), s.vary(0.24, 0.36)
    pennant = smooth(
        (mast_x, top - 0.03), (mast_x + flag_w * 0.5, top + 0.02),
        (mast_x + flag_w, top + flag * 0.5), (mast_x + flag_w * 0.5, top + flag * 0.6),
        (mast_x, top + flag), tension=0.15,
    )  # fmt: skip
    s.add(pennant, p.second, relief=0.5)
    s.part("pennant", mast_x + flag_w * 0.4, top + flag * 0.42)
    s.part("mast", mast_x, deck - 0.02)
    boom, puff = deck - s.vary(0.08, 0.14), s.vary(0.04, 0.14)
    head = top + flag + s.vary(0.02, 0.08)
    clew = mast_x - s.vary(0.5, 0.68)
    main = np.concatenate([
        path((mast_x - 0.05, head), ((mast_x + clew) / 2 - puff, (head + boom) / 2), (clew, boom)),
        path((clew, boom), ((mast_x + clew) / 2, boom + 0.03), (mast_x - 0.05, boom)),
    ])  # fmt: skip
    sail = p.pale if s.chance(0.35) else p.second
    s.add(main, sail, relief=0.7, skin=True)
    for part in (0.35, 0.6, 0.82):
        y, x = head + part * (boom - head), mast_x - 0.05 + part * (clew - mast_x)
        s.detail(stroke([(x + 0.02, y), (mast_x - 0.06, y)], 0.02), shade(sail, 0.65))
    s.part("main_sail", mast_x - 0.2, head + 0.66 * (boom - head))
    tack, jib_head = mast_x + s.vary(0.45, 0.66), head + s.vary(0.05, 0.2)
    jib = np.concatenate([
        path((mast_x + 0.06, jib_head), (mast_x + 0.28 + puff, (jib_head + boom) / 2 + 0.05),
             (tack, boom)),
        path((tack, boom), (mast_x + 0.3, boom - 0.06), (mast_x + 0.08, boom)),
    ])  # fmt: skip
    s.add(jib, p.accent if s.chance(0.6) else sail, relief=0.7, skin=True)
    s.part("jib", mast_x + 0.22, boom - 0.2)
    hull = smooth(
        (-stern, deck), (bow * 0.4, deck), (bow, deck - 0.07), (bow * 0.72, keel - 0.08),
        (bow * 0.4, keel), (-stern * 0.6, keel), (-stern * 0.9, keel - 0.12), tension=0.16,
    )  # fmt: skip
    s.add(hull, p.main, relief=0.6, skin=True)
    s.detail(stroke([(-stern + 0.06, deck + 0.1), (bow - 0.12, deck + 0.09)], 0.055), p.accent)
    middle = (deck + keel) / 2 + 0.06
    for x in (-0.35, -0.05, 0.25):
        s.add(ellipse(x, middle, 0.06, 0.06), p.pale if s.chance(0.5) else p.deep, relief=0.8)
    s.part("hull", -0.2, middle)


def car(s: Sketch) -> None:
    """A car from its side: wheels, windows, door handle, headlight."""
    p = s.palette
    wheel, base = s.vary(0.17, 0.22), s.vary(0.24, 0.3)
    front, rear = s.vary(-0.6, -0.5), s.vary(0.46, 0.58)
    belt, roof = s.vary(-0.12, -0.04), s.vary(-0.5, -0.38)
    nose, boot = s.vary(-0.98, -0.88), s.vary(0.86, 0.96)
    hood = belt + s.vary(0.02, 0.12)
    a, b = s.vary(-0.42, -0.28), s.vary(0.28, 0.5)  # the roof's ends
    fore, aft = s.vary(-0.68, -0.52), s.vary(0.6, 0.84)
    cabin = smooth(
        (fore, belt + 0.06), (a, roof), ((a + b) / 2, roof - 0.03), (b, roof), (aft, belt + 0.06),
        tension=0.12,
    )  # fmt: skip
    s.add(cabin, p.main if s.chance(0.6) else p.second, relief=0.45, skin=True)
    body = smooth(
        (nose, hood + 0.1), (nose + 0.12, hood), (fore, belt), (0, belt - 0.01), (aft, belt),
        (boot, belt + 0.08), (boot + 0.03, base - 0.02), (0.5, base), (-0.5, base), (nose, base),
        tension=0.2,
    )  # fmt: skip
    s.add(body, p.main, relief=0.55, skin=True)
    glass = p.pale if s.chance(0.45) else shade(p.accent, s.vary(0.5, 1.6))
    pillar, sill = s.vary(-0.06, 0.1), belt - 0.02
    top = roof + 0.09
    fore_glass = polygon((fore + 0.14, sill), (a + 0.05, top), (pillar - 0.035, top),
                         (pillar - 0.035, sill))  # fmt: skip
    aft_glass = polygon((pillar + 0.035, sill), (pillar + 0.035, top), (b - 0.04, top),
                        (aft - 0.15, sill))  # fmt: skip
    for window in (fore_glass, aft_glass):
        s.add(window, glass, relief=0.3)
        x, y = window.mean(0)
        s.detail(stroke([(x - 0.05, y + 0.06), (x + 0.03, y - 0.07)], 0.03), shade(glass, 1.8))
    s.part("front_window", *fore_glass.mean(0))
    s.part("rear_window", *aft_glass.mean(0))
    seam = shade(p.main, 0.5)
    s.detail(stroke([(pillar, belt), (pillar, base - 0.03)], 0.02), seam)
    s.detail(stroke([(fore + 0.12, belt), (fore + 0.16, base - 0.06)], 0.02), seam)
    handle_y = belt + s.vary(0.07, 0.1)
    s.add(box(pillar - 0.2, handle_y - 0.025, pillar - 0.06, handle_y + 0.025), p.second)
    s.part("door_handle", pillar - 0.13, handle_y)
    s.detail(stroke([(nose + 0.02, base - 0.02), (boot, base - 0.02)], 0.07), shade(p.second, 0.6))
    lamp_y = hood + 0.14
    s.add(ellipse(nose + 0.075, lamp_y, 0.085, 0.075), p.pale if s.chance(0.6) else p.accent,
          relief=0.8)  # fmt: skip
    s.part("headlight", nose + 0.075, lamp_y)
    s.add(squircle(boot - 0.03, belt + 0.15, 0.05, 0.07), p.accent, relief=0.7)
    rim = p.pale if s.chance(0.5) else p.accent
    spokes = int(s.rng.integers(4, 8))
    for name, x in (("front_wheel", front), ("rear_wheel", rear)):
        s.detail(ellipse(x, base - 0.03, wheel * 1.2, wheel * 1.15), shade(p.main, 0.3))
        s.add(ellipse(x, base, wheel, wheel), p.deep, relief=0.8)
        s.detail(ellipse(x, base, wheel * 0.62, wheel * 0.62), rim, relief=0.9)
        for k in range(spokes):
            angle = 2 * np.pi * k / spokes
            tip = (x + 0.55 * wheel * np.cos(angle), base + 0.55 * wheel * np.sin(angle))
            s.detail(stroke([(x, base), tip], 0.03), shade(rim, 0.5), relief=0.9)
        s.detail(ellipse(x, base, wheel * 0.17, wheel * 0.17), p.deep, relief=1.0)
        s.part(name, x, base)


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
        s.part_of_pair("foot", *(np.array(leg[1]) * 0.93))
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
        middle = away + bell * 0.4
        s.part_of_pair("bell", x * middle, y * middle)
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
