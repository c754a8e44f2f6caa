"""The sample scenes: for each pair, what stands where (metres: x to the right, z away), and how it is seen."""

import numpy as np

from .canvas import RING, Matter, View
from .movers import Car, cyclist, person
from .things import (
    PAINT,
    STEEL,
    bare_tree,
    box,
    building,
    bushes,
    crane,
    fence,
    grass,
    ground,
    lamp,
    panel,
    power_line,
    road,
    ship,
    shop,
    sign,
    smoke,
    stop,
    strip,
    tree,
    water,
    zebra,
)

BRICK, PLASTER, STONE = (0.42, 0.22, 0.16), (0.62, 0.56, 0.45), (0.45, 0.43, 0.4)
DRAB = (0.14, 0.17, 0.09)
LEAVES = (0.1, 0.14, 0.06)


def street_day(s):
    """The right pavement lies in shade: people there are plain in infrared, signs and paint only in visible light."""
    ground(s, (0.2, 0.26, 0.12))
    road(s, -4, 4)
    zebra(s, -4, 4, 13, 16)
    building(s, -22, -6.6, 12, 30, 9, BRICK, 2, 0.3, roof=3.5)
    building(s, -24, -6.6, 34, 60, 12, PLASTER, 2)
    building(s, 6.6, 20, 16, 36, 10, STONE, 1, 0.4)
    sign(s, (4.6, 17), (1, 0), 0, 3.1, 0.6, "CAFE", Matter((0.8, 0.7, 0.3), 0, 0), Matter((0.05, 0.2, 0.1), 0, 0.1))
    building(s, 6.6, 22, 40, 75, 13, BRICK, 1, 0.3)
    building(s, -30, -6, 90, 120, 16, PLASTER)
    building(s, 5, 30, 100, 130, 14, STONE)
    tree(s, -6.2, 11, 6.5, 1.9)
    tree(s, -6.3, 31, 7, 2.2)
    tree(s, 5.8, 38, 7, 2.2)
    Car(s, 2.0, 11.5, 0, (0.1, 0.2, 0.42), 1)
    Car(s, -2.0, 26, 180, (0.7, 0.71, 0.72), 1)
    Car(s, 3.0, 24, 0, (0.5, 0.07, 0.05), 0.1)
    Car(s, 3.0, 31, 0, (0.6, 0.6, 0.58), 0.4, kind="van")
    person(s, -1.3, 14.2, (0.5, 0.12, 0.1), "walk", 1)
    person(s, -5.3, 16, (0.6, 0.58, 0.5), "stand")
    person(s, 5.0, 13, (0.07, 0.07, 0.08), "walk", -1)
    person(s, 5.6, 20, (0.3, 0.1, 0.1), "stand")
    lamp(s, -4.6, 20, 6, 1.2)
    lamp(s, 4.6, 30, 6, -1.2)
    stop(s, 4.6, 11.5)


def street_night(s):
    """Headlights blind the visible camera to the people beside them; the right pavement has no lamp near."""
    ground(s, (0.1, 0.13, 0.07))
    road(s, -4, 4, warm=3)
    building(s, -20, -6.6, 10, 32, 10, STONE, 2, 0.4, lit=0.25)
    building(s, -22, -6.6, 36, 70, 13, BRICK, 2, 0.3, lit=0.3)
    building(s, 6.6, 20, 14, 50, 9, BRICK, 2, 0.3, lit=0.12)
    building(s, 6.6, 24, 54, 90, 14, PLASTER, 2, lit=0.2)
    sign(s, (-6.55, 14), (0, 1), 0, 4.3, 0.9, "HOTEL", Matter((0.3, 0.9, 0.9), 4, 0, 0, glow=1.2))
    Car(s, -1.9, 18, 180, (0.5, 0.5, 0.52), 1, 1)
    Car(s, -2.0, 38, 180, (0.3, 0.3, 0.3), 1, 1)
    Car(s, 1.7, 26, 0, (0.3, 0.3, 0.32), 1, 0.8)
    for i in range(4):
        Car(s, 3.2, 11 + 6 * i, 0, (0.1 + 0.12 * i, 0.12, 0.14), (0.05, 0.6, 0, 0)[i])
    person(s, -5.2, 14.5, (0.06, 0.06, 0.07), "walk", 1)
    person(s, -0.3, 14.5, (0.05, 0.05, 0.06), "walk", -1)
    person(s, 5.1, 13, (0.05, 0.06, 0.05), "stand")
    person(s, 5.6, 18, (0.1, 0.1, 0.1), "walk", -1)
    person(s, -3.6, 24, (0.1, 0.1, 0.1), "walk", 1)
    tree(s, 6.0, 22, 7, 2.2)
    tree(s, -6.0, 34, 7, 2.2)
    for i in range(4):
        lamp(s, -4.7, 20 + 16 * i, 6, 1.3, 16)
        lamp(s, 4.7, 34 + 16 * i, 6, -1.3, 16)


def field_smoke(s):
    """A track through a meadow; smoke, bushes and drab clothes hide people and a running engine."""
    ground(s, (0.24, 0.26, 0.14), 0, 0.7, 1.2, 7)
    for i in range(12):  # a track that bends away to the right
        z, z2 = 1.05 * 1.42**i, 1.05 * 1.42 ** (i + 1)
        x, x2 = -1.3 + 0.004 * z * z, -1.3 + 0.004 * z2 * z2
        for lane in (0, 1.7):
            strip(s, x + lane, x + lane + 0.6, z, z2, Matter((0.45, 0.4, 0.3), 2.5, 0.5, 0.8, 8, holes=0.25), x2 - x)
    panel(s, (-150, 90), (1, 0), 0, 0, 300, 6, Matter(LEAVES, 0, 0.9, 0.8, 1.5))
    for i in range(24):
        a, b, c = s.rng.random(3)
        tree(s, -44 + 3.8 * i, 58 + 9 * a, 9 + 5 * b, 3.4, tuple((0.7 + 0.6 * c) * k for k in LEAVES), lobes=9)
    bushes(s, -40, 40, 50, 56, 30, 1.8, LEAVES)
    bushes(s, -15, 15, 12, 40, 18, 0.8)
    grass(s, -5, 5, 3.2, 9, 210, 0.2)
    grass(s, -9, 9, 8, 20, 180, 0.35)
    tree(s, -7.6, 20, 8.0, 2.8, lobes=26)
    Car(s, 7.0, 27, -35, (0.16, 0.19, 0.11), 1, kind="van")
    person(s, -2.6, 19, DRAB, "walk", 1, legs=DRAB)
    person(s, 0.2, 20, DRAB, "stand", legs=DRAB)
    person(s, 3.6, 13.5, DRAB, "kneel", -1, legs=DRAB)
    bushes(s, 2.8, 4.6, 12.6, 13, 4, 0.4)
    fence(s, -16, 24, -2, 40, 12)
    smoke(s, -1.2, 17, 9, 3.6)


def harbour_dusk(s):
    """Quay, ship and cranes against the last light; people work on a quay with one lamp."""
    water(s, 13, 75)
    strip(s, -900, 900, 75, 900, Matter((0.2, 0.2, 0.18), 1))
    strip(s, -900, 900, 1.05, 13, Matter((0.28, 0.27, 0.26), 3, 0.5, 0.7, 6, 0.6))
    strip(s, -900, 900, 12.5, 13, Matter((0.5, 0.42, 0.1), 1.5, 0.4, holes=0.3))
    for i in range(14):
        building(s, -95 + 14 * i, -83 + 14 * i, 110, 118, 5 + 9 * s.rng.random(), STONE, 2, lit=0.25)
    crane(s, -38, 84, 24, 18)
    crane(s, 33, 84, 26, -18)
    colours = ((0.5, 0.1, 0.07), (0.08, 0.2, 0.4), (0.1, 0.35, 0.2), (0.6, 0.4, 0.08), (0.5, 0.5, 0.5))
    for i, rgb in enumerate(colours):
        box(s, 14 + 7 * i, 20.4 + 7 * i, 78, 81, 0, 2.6 + 2.6 * (i % 2), Matter(rgb, -1 + 0.5 * i, 0.3, 0.3, 2))
    ship(s, -6, 62, 44, (0.1, 0.13, 0.2), 0.7)
    for x in (-6.0, -0.4, 6.0):
        s.rod((x, 0, 12.2), (x, 0.5, 12.2), 0.16, Matter((0.06, 0.06, 0.06), 1), 0.2)
    box(s, 3.2, 4.9, 11.2, 12.2, 0, 1.0, Matter((0.35, 0.25, 0.14), -1, 0.4, 0.5, 8))
    box(s, 3.5, 4.4, 11.3, 12.2, 1.0, 1.7, Matter((0.4, 0.3, 0.18), -1, 0.4, 0.5, 8))
    person(s, -4.6, 11, (0.08, 0.1, 0.14), "walk", 1)
    person(s, 2.3, 11.5, (0.09, 0.09, 0.09), "stand")
    person(s, 0.9, 11, (0.5, 0.2, 0.04), "kneel", -1)
    cyclist(s, -2.2, 9.6, (0.3, 0.3, 0.05), 1)
    lamp(s, 5.6, 12, 5.4, -1.2, 12)
    for x in (-60, -20, 18, 52):
        lamp(s, x, 90, 9, 1.5, 60)


def house_wood(s):
    """A backlit house behind bare trees; two people stand in the undergrowth."""
    ground(s, (0.22, 0.23, 0.13), 0, 0.7, 1.2, 7)
    strip(s, -40, 40, 10.5, 12.6, Matter((0.4, 0.38, 0.34), 2.5, 0.5, 0.8, 8, holes=0.1))
    building(s, 0.2, 8.6, 19, 27, 3.6, (0.33, 0.27, 0.23), 4, 0.26, roof=4.2)
    panel(s, (0.2, 19), (1, 0), 3.6, 0, 1.2, 2.3, Matter((0.1, 0.07, 0.05), 7))
    box(s, -3.0, -1.7, 16, 17.2, 0, 2.3, Matter((0.2, 0.26, 0.34), 5, 0.2, 0.5))
    for i in range(8):
        bare_tree(s, -16 + 2.3 * i, 33 + i % 3, 8 + 2 * s.rng.random(), 4)
    bushes(s, -15, -2, 21, 28, 18, 1.1, (0.14, 0.15, 0.09))
    bushes(s, -8, 9, 14, 15.5, 16, 0.5, (0.16, 0.16, 0.09))
    bare_tree(s, -6.6, 18, 10)
    person(s, -4.4, 14, (0.08, 0.09, 0.06), "stand", legs=(0.09, 0.1, 0.06))
    person(s, -1.4, 15, (0.07, 0.07, 0.06), "walk", -1)
    bare_tree(s, 3.4, 10.0, 8.5)
    bushes(s, -7, 6, 12.9, 13.6, 9, 0.3, (0.2, 0.2, 0.11))
    grass(s, -4, 4, 3.4, 7, 180, 0.25)
    grass(s, -6, 6, 7, 10.3, 170, 0.3)
    fence(s, 3, 13.5, 12, 13.5, 8)


def parking_night(s):
    """A shop with a lit sign, cars just parked and long parked, people between them."""
    ground(s, (0.14, 0.14, 0.15), 2.5, 0.6, 0.6, 12)
    building(s, -13, 13, 24, 36, 5.8, STONE, 3, 0.4, lit=0.6)
    shop(s, (-8, 23.9), (1, 0), 15, "HOTEL CAFE", 4.2)
    strip(s, -14, 14, 20.5, 24, Matter((0.34, 0.33, 0.3), 1.5))
    for i in range(8):
        strip(s, -11.2 + 3.2 * i, -11.05 + 3.2 * i, 13.5, 18.7, PAINT)
    colours = ((0.45, 0.05, 0.05), (0.5, 0.5, 0.5), (0.07, 0.08, 0.1), (), (0.6, 0.6, 0.6), (0.12, 0.2, 0.4))
    for i, rgb in enumerate(colours):
        if rgb:
            hot, kind = (1, 0.1, 0.9, 0, 0, 1)[i], "van" if i == 4 else "sedan"
            Car(s, -9.5 + 3.2 * i, 16.2, 180 * (i % 2), rgb, hot, kind=kind)
    Car(s, -2.6, 10.2, 80, (0.3, 0.32, 0.33), 1, 0.6)
    person(s, 0.2, 15, (0.06, 0.06, 0.08), "walk", -1)
    person(s, 1.2, 15.4, (0.1, 0.05, 0.05), "stand")
    person(s, 4.0, 11.5, (0.06, 0.07, 0.06), "walk", -1)
    person(s, -1.2, 22.8, (0.3, 0.3, 0.32), "stand")
    person(s, 2.4, 8.6, (0.05, 0.05, 0.05), "kneel", -1)
    tree(s, -11, 21, 8, 2.6)
    tree(s, 12, 22, 9, 3)
    lamp(s, 7.2, 20, 6.5, -1.4, 14, (1, 0.9, 0.75))
    for x in (-5, 1, 7):
        s.lamps.append(((x, 2.0, 21.5), np.array((1, 0.8, 0.55)) * 3, None))


def road_fog(s):
    """A country road: fog swallows what is farther than some fifty metres, the infrared camera sees on."""
    ground(s, (0.2, 0.25, 0.13), -0.5, 0.7, 1.0, 7)
    road(s, -3.8, 3.8, warm=3)
    for i in range(12):
        a, b = s.rng.random(2)
        tree(s, -8 - a, 16 + 11 * i, 8 + b, 2.4, (0.11, 0.15, 0.07), lobes=22 if i < 3 else 12)
        tree(s, 10 + b, 21 + 11 * i, 8 + a, 2.4, (0.11, 0.15, 0.07), lobes=22 if i < 3 else 12)
    power_line(s, 7.2, (9, 24, 42, 64, 90))
    fence(s, 6.6, 6, 6.6, 60, 18, 0.9, (0.5, 0.5, 0.48))
    grass(s, 6.5, 9, 6, 16, 60, 0.4)
    grass(s, -9, -6.5, 6, 16, 60, 0.4)
    Car(s, 1.9, 13.5, 0, (0.12, 0.12, 0.13), 1, 0.5)
    Car(s, -1.9, 30, 180, (0.3, 0.3, 0.32), 1, 0.25)
    Car(s, 1.9, 48, 0, (0.2, 0.2, 0.2), 1, 0.3, "van")
    Car(s, -1.9, 75, 180, (0.3, 0.3, 0.3), 1, 0.25)
    person(s, -4.8, 15, (0.1, 0.1, 0.12), "walk", 1)
    person(s, 4.6, 40, (0.1, 0.1, 0.12), "walk", -1)
    cyclist(s, -0.4, 55, (0.1, 0.1, 0.12), -1)
    stop(s, 4.6, 11)


def alley(s):
    """A narrow cobbled lane: sun on one side, a doorway and people in the dark of the other."""
    ground(s, (0.26, 0.25, 0.23), 1, 0.5, 0.6, 14, 0.16)
    strip(s, -2.3, -1.7, 1.05, 60, Matter((0.42, 0.4, 0.37), 0, 0.4, 0.5, 12, 0.4))
    building(s, -12, -2.3, 3.2, 30, 8.5, BRICK, 1.5, 0.22)
    building(s, 2.3, 12, 3.2, 26, 7.5, STONE, 1, 0.34)
    building(s, -9, 9, 44, 60, 11, PLASTER)
    panel(s, (2.3, 3.2), (0, 1), 5.2, 0, 1.3, 2.4, Matter((0.08, 0.05, 0.04), 6))
    board = Matter((0.04, 0.12, 0.07), 0)
    sign(s, (2.28, 9.0), (0, -1), 0.3, 2.9, 0.6, "CAFE", Matter((0.8, 0.65, 0.15), 0, 0), board)
    box(s, 1.4, 2.2, 10.4, 11.6, 0, 1.2, Matter((0.1, 0.22, 0.12), -1.5, 0.2))
    person(s, 1.5, 7.3, (0.05, 0.05, 0.06), "stand")
    person(s, -0.6, 11, (0.5, 0.45, 0.35), "walk", 1)
    person(s, 0.9, 17, (0.3, 0.1, 0.1), "walk", -1)
    person(s, -1.8, 19, (0.1, 0.15, 0.3), "stand")
    cyclist(s, 0.2, 30, (0.5, 0.4, 0.1), 1)
    s.rod((-2.3, 5.2, 9), (2.3, 5.2, 9), 0.015, STEEL)
    for i in range(6):  # washing
        a, b, c = s.rng.random(3)
        panel(
            s,
            (-1.7, 9),
            (1, 0),
            0.6 * i,
            5.2 - 0.5 - 0.4 * b,
            0.45,
            0.5 + 0.4 * b,
            Matter((0.3 + 0.5 * a, 0.6 * c, 0.5), -1),
            True,
        )
    cover = [(0.2 + 0.4 * a, 0, 5.6 + 0.4 * b) for a, b in RING]
    s.poly(cover, Matter((0.12, 0.12, 0.13), 3, 0.3, 0.3, 12, 0.07), cast=False)
    lamp(s, -2.2, 14, 4.2, 0.6)


NIGHT = View((0, 0), ambient=(0.012, 0.014, 0.02), sky=((0.004, 0.005, 0.012), (0.02, 0.018, 0.018)), clouds=0.1,
             grain=0.014, body=22, cold=14, gamma=1.5)  # fmt: skip
DUSK = {"ambient": (0.05, 0.05, 0.075), "sky": ((0.05, 0.08, 0.2), (0.75, 0.36, 0.16)), "grain": 0.014, "body": 18}
DULL = {"ambient": (0.2, 0.2, 0.2), "sky": ((0.9, 0.9, 0.9), (1.2, 1.2, 1.2)), "body": 16}
FOG = {"ambient": (0.5, 0.52, 0.55), "sky": ((0.62, 0.63, 0.65), (0.7, 0.7, 0.7)), "clouds": 0.1, "fog": 42, "cold": 8,
       "body": 20}  # fmt: skip
SCENES = {
    "01_street_day": (street_day, View((320, 240), sun=(0.5, 0.9, -0.5), exposure=0.85)),
    "02_street_night": (street_night, NIGHT._replace(size=(321, 241), focal=1.05)),
    "03_field_smoke": (field_smoke, View((256, 256), 1.1, 0.36, 2.6, sun=(-0.5, 0.8, 0.3), clouds=0.9, exposure=0.8,
                                         colour="gray")),
    "04_harbour_dusk": (harbour_dusk, View((383, 217), 0.95, 0.42, 2.8, shore=75, exposure=1.3, **DUSK)),
    "05_house_wood": (house_wood, View((255, 191), 1.1, 0.5, 1.9, sun=(-0.5, 0.5, 0.9), colour="rgbgray", **DULL)),
    "06_parking_night": (parking_night, NIGHT._replace(size=(300, 225), horizon=0.36, eye=3.0, exposure=1.2, gamma=1.0,
                                                       bits=16)),
    "07_road_fog": (road_fog, View((352, 198), 1.0, 0.42, 1.6, exposure=0.9, colour="gray", **FOG)),
    "08_alley_day": (alley, View((191, 271), 1.25, 0.46, 1.7, sun=(0.3, 0.9, 0.1), exposure=0.9, gamma=1.3)),
}  # fmt: skip
