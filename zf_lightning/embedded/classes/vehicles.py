"""Boat and car."""

import numpy as np

from zf_lightning.embedded.palette import shade
from zf_lightning.embedded.shapes import box, ellipse, path, polygon, smooth, squircle, stroke
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
