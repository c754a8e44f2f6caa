"""What sample scenes are built of: roads, houses, vehicles, people, plants, ships. Lengths in metres, `warm` in kelvin.

Every function draws on a `Scene` and returns nothing. Draw the ground first: shadows fall on what is already there.
"""

from itertools import pairwise

import numpy as np

from .canvas import Matter

WHITE, BLACK, SKIN = (0.8, 0.8, 0.78), (0.03, 0.03, 0.03), (0.62, 0.42, 0.33)
GLASS = Matter((0.1, 0.12, 0.15), -3, 0.5, 0.3, 1.5)
STEEL = Matter((0.3, 0.31, 0.32), 1, 0.1, 0.2)
PAINT = Matter((0.72, 0.72, 0.68), -0.8, 0.3, 0.3, 12, holes=0.05)


# --- ground


def strip(s, x0, x1, z0, z1, matter, shift=0.0):
    """A piece of ground between columns x0 and x1 at z0, shifted sideways by `shift` at z1."""
    s.poly([(x0, 0, z0), (x1, 0, z0), (x1 + shift, 0, z1), (x0 + shift, 0, z1)], matter, cast=False)


def ground(s, rgb, warm=0.0, rough=0.5, vary=1.0, grain=10.0, bricks=0.0):
    """Everything below the horizon."""
    strip(s, -900, 900, 1.05, 900, Matter(rgb, warm, rough, vary, grain, bricks))


def road(s, left, right, warm=2.0, far=300):
    """Asphalt with pavements, kerbs, worn tracks and markings, running away from the camera."""
    slabs, tar = Matter((0.4, 0.38, 0.35), warm - 1.5, 0.3, 0.6, 8, 0.5), Matter((0.16, 0.16, 0.17), warm, 0.5, 0.6, 26)
    middle = (left + right) / 2
    for x0, x1, matter in ((left - 2.6, left, slabs), (right, right + 2.6, slabs), (left, right, tar)):
        strip(s, x0, x1, 1.05, far, matter)
    for x in (left + 1.0, left + 2.5, middle + 1.0, middle + 2.5):  # tyres polish and warm their tracks
        strip(s, x - 0.25, x + 0.25, 1.05, far, Matter((0.13, 0.13, 0.14), warm + 0.7, 0.5, 0.6, 26, holes=0.3))
    for x in (left, right):
        strip(s, x - 0.12, x + 0.12, 1.05, far, Matter((0.52, 0.51, 0.48), warm - 2.0, 0.3, 0.5))
    for z in range(2, 90, 6):
        strip(s, middle - 0.09, middle + 0.09, z, z + 3, PAINT)
    for x in (left + 0.45, right - 0.45):
        strip(s, x - 0.07, x + 0.07, 1.05, far, PAINT)
    patch = Matter((0.09, 0.09, 0.1), warm + 1.2, 0.4, 0.6, 14)  # mended holes
    for x, z in ((left + 1.8, 5.5), (right - 2.6, 8.0)):
        strip(s, x, x + 1.1, z, z + 1.6, patch)


def zebra(s, left, right, z0, z1):
    """A pedestrian crossing over a road that runs away from the camera."""
    for i in range(int(right - left)):
        strip(s, left + i + 0.25, left + i + 0.75, z0, z1, PAINT)


# --- houses


def panel(s, o, e, along, y, width, height, matter, cast=False):
    """An upright rectangle `along` metres from o = (x, z) in direction e = (x, z), its foot at y."""
    x, z = o[0] + e[0] * along, o[1] + e[1] * along
    x2, z2 = x + e[0] * width, z + e[1] * width
    s.poly([(x, y, z), (x2, y, z2), (x2, y + height, z2), (x, y + height, z)], matter, cast)


def box(s, x0, x1, z0, z1, y0, y1, matter):
    """A plain block: crates, cabins, containers."""
    for o, e, n in (((x0, z1), (1, 0), x1 - x0), ((x0, z0), (0, 1), z1 - z0), ((x1, z0), (0, 1), z1 - z0)):
        panel(s, o, e, 0, y0, n, y1 - y0, matter, True)
    panel(s, (x0, z0), (1, 0), 0, y0, x1 - x0, y1 - y0, matter, True)
    s.poly([(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], matter)


FONT = {"A": "75755", "C": "74447", "E": "74647", "F": "74644", "H": "55755", "L": "44447", "O": "75557", "P": "75744",
        "R": "75655", "S": "74717", "T": "72222", "7": "71222"}  # fmt: skip


def sign(s, o, e, along, y, size, text, ink, board=None):
    """Lettering on a wall, 3x5 dots a letter of height `size`; the octal digits of FONT are its rows of dots."""
    dot = size / 5
    if board:
        panel(s, o, e, along - dot, y - dot, (4 * len(text) + 1) * dot, size + 2 * dot, board)
    for i, letter in enumerate(text):
        for row, bits in enumerate(FONT.get(letter, "00000")):
            for col in range(3):
                if int(bits) >> (2 - col) & 1:
                    panel(s, o, e, along + (4 * i + col) * dot, y + (4 - row) * dot, dot * 1.02, dot * 1.02, ink)


def pane(s, o, e, along, y, lit):
    """A window of two wings: dark with a little of the sky in it, or lit, some with a blind; warmth leaks unevenly."""
    a, b, c = s.rng.random(3)
    panel(s, o, e, along - 0.12, y - 0.14, 1.44, 1.72, Matter((0.7, 0.68, 0.64), 1.0 + 4 * a * a))
    glass = Matter((1.0, 0.78, 0.42), 2 + 3 * a, 0.5, 1, 3, glow=0.5 + b) if c < lit else GLASS
    for half in (0, 0.63):
        panel(s, o, e, along + half, y, 0.57, 1.45, glass)
    if b > 0.55:
        panel(s, o, e, along, y + 1.45 - 0.7 * a, 1.2, 0.7 * a, Matter((0.55, 0.5, 0.42), 0, 0.2))


def facade(s, o, e, length, height, matter, lit=0.0):
    """A wall with rows of windows, a share `lit` of them with light behind."""
    panel(s, o, e, 0, 0, length, height, matter, True)
    panel(s, o, e, 0, height - 0.35, length, 0.35, Matter((0.5, 0.48, 0.45), matter.warm - 1))
    panel(s, o, e, 0, 0, length, 0.5, Matter((0.25, 0.24, 0.23), matter.warm + 0.5, 0.4))
    columns = max(int(length / 2.6), 1)
    for floor in range(int((height - 0.6) / 3)):
        for column in range(columns):
            pane(s, o, e, (column + 0.5) * length / columns - 0.6, 3 * floor + 1.0, lit)


def building(s, x0, x1, z0, z1, height, rgb, warm=2.0, bricks=0.0, lit=0.0, roof=0.0):
    """A block with windows towards the camera and the road; `roof`: height of a gable roof, its gable to the camera."""
    matter = Matter(rgb, warm, 0.35, 0.5, 6, bricks)
    side, mid, top = x0 if x0 > 0 else x1, (x0 + x1) / 2, height + roof
    facade(s, (side, z0), (0, 1), z1 - z0, height, matter, lit)
    facade(s, (x0, z0), (1, 0), x1 - x0, height, matter, lit)
    if roof:
        tiles = Matter((0.33, 0.16, 0.12), warm - 2, 0.4, 0.6, 6, 0.35)
        s.poly([(x0, height, z0), (mid, top, z0), (x1, height, z0)], matter)
        pane(s, (mid - 0.6, z0), (1, 0), 0, height + 0.2 * roof, lit)
        for x in (x0, x1):
            eave, low = x + 0.1 * (x - mid), height - 0.2 * roof
            s.poly([(eave, low, z0 - 0.5), (mid, top, z0 - 0.5), (mid, top, z1), (eave, low, z1)], tiles)
            board = [(eave, low), (mid, top), (mid, top + 0.25), (eave, low + 0.25)]
            s.poly([(u, v, z0 - 0.5) for u, v in board], Matter((0.5, 0.47, 0.42), warm - 1), cast=False)


def shop(s, o, e, length, text, along):
    """A lit shop window with goods behind it and a sign above, on the wall from o along e."""
    panel(s, o, e, 0, 0.3, length, 2.9, Matter((0.2, 0.19, 0.18), 2, 0.3))
    for i in range(int(length / 1.5)):
        a, b = s.rng.random(2)
        panel(
            s,
            o,
            e,
            0.08 + 1.5 * i,
            0.5,
            1.34,
            1.9,
            Matter((0.95, 0.85, 0.6), 3 + 2 * a, 0.8, 0.8, 4, glow=0.35 + 0.7 * a),
        )
        for j in range(3):  # shelves; glass is opaque in the infrared, so they are as warm as the pane
            goods = Matter((0.5 * a, 0.3 * b, 0.2), 3 + 2 * a, 0.9, 0.5, 9, glow=0.4)
            panel(s, o, e, 0.1 + 1.5 * i, 0.55 + 0.6 * j, 1.3, 0.15 + 0.25 * b, goods)
    board = Matter((0.7, 0.1, 0.07), 4, 0.1, 0.3, glow=0.4)
    sign(s, o, e, along, 2.6, 0.8, text, Matter(WHITE, 4, 0, 0, glow=1.3), board)


# --- street furniture


def lamp(s, x, z, height=5.5, reach=1.2, power=0.0, rgb=(1.0, 0.8, 0.5)):
    """A street lamp of this radiant power (a wall at 5 m is well lit at 20); 0: off."""
    s.rod((x, 0, z), (x, height, z), 0.08, STEEL, 0.05)
    s.rod((x, height, z), (x + reach, height + 0.3, z), 0.05, STEEL)
    bulb = Matter(rgb, 5 if power else 1, 0, 0, glow=0.2 + 6 * bool(power))
    s.rod((x + reach, height + 0.25, z), (x + reach * 1.3, height + 0.25, z), 0.12, bulb)
    if power:
        s.lamps.append(((x + reach * 1.2, height, z), np.array(rgb) * power, None))


def stop(s, x, z, y=2.1):
    """An octagonal stop sign."""
    s.rod((x, 0, z), (x, y + 0.4, z), 0.04, STEEL)
    for r, rgb in ((0.45, WHITE), (0.4, (0.65, 0.05, 0.05))):
        corners = [(x + r * np.cos(a), y + r * np.sin(a), z - 0.06) for a in (np.arange(8) + 0.5) * np.pi / 4]
        s.poly(corners, Matter(rgb, -1, 0))
    sign(s, (x, z - 0.06), (1, 0), -0.28, y - 0.1, 0.2, "STOP", Matter(WHITE, -1, 0))


def fence(s, x0, z0, x1, z1, posts=10, height=1.1, rgb=(0.3, 0.24, 0.17)):
    """Posts and two rails."""
    wood = Matter(rgb, -0.5, 0.4, 0.5)
    for t in range(posts + 1):
        x, z = x0 + (x1 - x0) * t / posts, z0 + (z1 - z0) * t / posts
        s.rod((x, 0, z), (x, height, z), 0.06, wood)
    for y in (0.45 * height, 0.85 * height):
        s.rod((x0, y, z0), (x1, y, z1), 0.035, wood)


def power_line(s, x, zs, height=8.0):
    """Poles at these distances, with a cross-arm and two wires that sag between them."""
    wood = Matter((0.2, 0.16, 0.12), 1.5, 0.4)
    for z in zs:
        s.rod((x, 0, z), (x, height, z), 0.14, wood, 0.1)
        s.rod((x - 0.9, height - 0.5, z), (x + 0.9, height - 0.5, z), 0.07, wood)
    for z0, z1 in pairwise(zs):
        for dx in (-0.8, 0.8):
            heights = [height - 0.4 - 0.7 * (1 - (t - 2) ** 2 / 4) for t in range(5)]
            for t in range(4):
                step = (z1 - z0) / 4
                s.rod((x + dx, heights[t], z0 + t * step), (x + dx, heights[t + 1], z0 + (t + 1) * step), 0.012, STEEL)


# --- plants


def tree(s, x, z, height=7.0, spread=2.5, rgb=(0.13, 0.2, 0.07), warm=0.0, lobes=16):
    """A trunk with a crown of leaves."""
    bark = Matter((0.16, 0.12, 0.09), warm + 1.0, 0.6, 0.8, 8)
    s.rod((x, 0, z), (x, height * 0.65, z), 0.026 * height, bark, 0.012 * height)
    for i in range(lobes):
        a, b, c = s.rng.random(3) - 0.5
        size = spread * (0.36 + 0.2 * s.rng.random()) * (1.15 - 0.6 * abs(b))
        leaves = Matter(tuple((0.8 + 0.6 * c) * v for v in rgb), warm + c, 0.7, 0.9, 9)
        centre = (x + 1.7 * spread * a * (1.1 - abs(b)), height * (0.68 + 0.46 * b), z + spread * c + 0.01 * i)
        s.blob(centre, size, size * 0.75, leaves)


def bare_tree(s, x, z, height=8.0, depth=5):
    """Branches without leaves."""
    bark = Matter((0.15, 0.12, 0.1), 1.5, 0.5, 0.6, 8)
    branch(s, np.array([x, 0.0, z]), np.array([0.05, 1.0, 0.0]), height * 0.27, 0.017 * height, bark, depth)


def branch(s, p, way, length, r, bark, depth):
    """Forks until `depth` is used up."""
    q = p + way * length
    s.rod(p, q, r, bark, r * 0.75)
    for i in range(3) if depth else ():
        bend = way + (s.rng.random(3) - 0.5) * (1.7, 0.9, 0.4) if i else way + (s.rng.random(3) - 0.5) * 0.5
        bend = bend / np.sqrt((bend * bend).sum())
        branch(s, q, bend, length * (0.6 + 0.25 * s.rng.random()), r * (0.55 + 0.15 * (i == 0)), bark, depth - 1)


def bushes(s, x0, x1, z0, z1, count, size=0.8, rgb=(0.13, 0.19, 0.08), warm=0.0):
    """Undergrowth strewn over a piece of ground, each bush of several lobes."""
    for _ in range(count):
        a, b, c = s.rng.random(3)
        x, z, r = x0 + (x1 - x0) * a, z0 + (z1 - z0) * b, size * (0.5 + 0.7 * c)
        for lobe in range(5):
            u, v, t = s.rng.random(3)
            leaves = Matter(tuple(k * (0.6 + 0.6 * t) for k in rgb), warm + 1.5 * (c - 0.5), 0.7, 0.8, 11)
            s.blob((x + r * (2.4 * u - 1.2), r * (0.35 + 0.6 * v), z - 0.02 * lobe), 0.7 * r, 0.55 * r, leaves)


def grass(s, x0, x1, z0, z1, count, height=0.3, rgb=(0.4, 0.42, 0.22), warm=0.0):
    """Tufts of single blades."""
    for _ in range(count):
        a, b, c = s.rng.random(3)
        x, z = x0 + (x1 - x0) * a, z0 + (z1 - z0) * b
        blade = Matter(tuple(k * (0.5 + 0.9 * c) for k in rgb), warm + 1.2 * (c - 0.5), 0, 0)
        for _ in range(6):
            u, v, t = s.rng.random(3)
            foot, tip = x + 0.8 * height * (u - 0.5), height * (0.3 + 0.9 * t * t)
            s.rod((foot, 0, z), (foot + height * (v - 0.5), tip, z), 0.01, blade, 0.003)


def smoke(s, x, z, width, height, puffs=60):
    """A bank of smoke rising from the ground, hiding what stands behind it."""
    for _ in range(puffs):
        a, b, c = (float(v) for v in s.rng.random(3))
        y, r = height * b * b, (0.3 + 0.35 * c) * height * 0.6
        found = s.around((x + width * (a - 0.5) * (1 - 0.5 * b), y, z), r, r)
        if found is None:
            continue
        at, gx, gy = found
        curl = s.texture(gy + c * 90, gx + a * 90, 22.0 / height) - np.float32(0.5)
        ex, ey = gx / np.float32(r), gy / np.float32(r)
        dense = np.clip(1 - ex * ex - ey * ey + 1.2 * curl * (ex * ex + ey * ey), 0, 1)
        dense = dense * dense * (3 - 2 * dense) * np.clip((s.z[at] - z) / 3, 0, np.float32(0.8))
        tone = np.clip(np.float32(0.72) - 0.25 * ey - 0.12 * ex + 0.9 * curl, 0.25, 1.1)
        s.smoke_tone[at] += (tone - s.smoke_tone[at]) * dense
        s.smoke[at] += (1 - s.smoke[at]) * dense


# --- harbour


def water(s, z0, z1):
    """Water from z0 to z1; that it mirrors the far bank needs the finished light (see sensors.mirror)."""
    strip(s, -900, 900, z0, z1, Matter((0.05, 0.07, 0.08), -1.0, 0.5, 0.3, 1.5))
    distance = s.view.eye / np.maximum(-s.ry, np.float32(1e-4))
    s.water |= (distance > z0) & (distance < z1)


def ship(s, x, z, long, rgb, lit=0.0):
    """A coaster seen from the side: hull, bridge, warm funnel, masts and derrick."""
    h = long / 12
    hull = [(-0.5, 1.2), (-0.47, 0.0), (0.44, 0.0), (0.52, 1.7), (0.4, 1.3), (-0.25, 1.1), (-0.25, 1.3)]
    s.poly([(x + a * long, b * h, z) for a, b in hull], Matter(rgb, 1.5, 0.5, 0.6, 1.5))
    keel = [(-0.475, 0.3), (-0.47, 0), (0.44, 0), (0.455, 0.3)]
    s.poly([(x + a * long, b * h, z - 0.05) for a, b in keel], Matter((0.4, 0.07, 0.04), 3.5, 0.5, 0.6, 2))
    engine = [(-0.46, 0.35), (-0.3, 0.35), (-0.3, 0.9), (-0.48, 0.9)]  # the hull is warm outside the engine room
    s.poly([(x + a * long, b * h, z - 0.05) for a, b in engine], Matter(rgb, 3.8, 0.5, 1.0, 1.5))
    for a0, a1, b0, b1 in ((-0.46, -0.26, 1.1, 2.1), (-0.43, -0.29, 2.1, 2.9)):
        box(s, x + a0 * long, x + a1 * long, z + 1, z + 4, b0 * h, b1 * h, Matter(WHITE, 3, 0.15, 0.5, 1))
    for y in (1.5, 2.35):
        for i in range(6):
            glass = Matter((1, 0.85, 0.5), 4, 0, 0, glow=1.5) if s.rng.random() < lit else GLASS
            panel(s, (x - 0.42 * long, z + 1), (1, 0), i * 0.022 * long, y * h, 0.012 * long, 0.3 * h, glass)
    s.rod((x - 0.4 * long, 2.9 * h, z + 3), (x - 0.4 * long, 3.6 * h, z + 3), 0.25 * h, Matter((0.7, 0.25, 0.05), 14))
    for a, b in ((0.1, 3.7), (0.42, 3.0), (-0.33, 4.0)):
        s.rod((x + a * long, 1.2 * h, z + 2), (x + a * long, b * h, z + 2), 0.1, STEEL)
    for b in (3.4, 2.4):
        s.rod((x + 0.1 * long, 1.6 * h, z + 2), (x + 0.3 * long, b * h, z + 2), 0.09, STEEL)
    sign(s, (x, z - 0.02), (1, 0), 0.3 * long, 0.75 * h, 0.25 * h, "PORT 7", Matter(WHITE, 1.5, 0, 0))


def crane(s, x, z, height, reach):
    """A portal crane: a lattice tower, a cabin and a jib with its rope."""
    iron, tower = Matter((0.7, 0.45, 0.08), -1, 0.2), 0.55 * height
    for side in (-1, 1):
        s.rod((x + side * 2.8, 0, z), (x + side * 1.2, tower, z), 0.28, iron)
        for i in range(4):
            low, high = 2.8 - 0.4 * i, 2.4 - 0.4 * i
            s.rod((x - side * low, tower * i / 4, z), (x + side * high, tower * (i + 1) / 4, z), 0.12, iron)
    box(s, x - 1.6, x + 1.6, z - 1, z + 1, tower, tower + 2.2, iron._replace(warm=4))
    for foot, r in ((2.0, 0.22), (3.4, 0.1)):
        s.rod((x, tower + foot, z), (x + reach, height, z), r, iron)
    s.rod((x + reach, height, z), (x + reach, 0.5 * height, z), 0.05, STEEL)
