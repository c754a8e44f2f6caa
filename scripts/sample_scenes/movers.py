"""What moves in sample scenes and is warm: people, cyclists, vehicles. Lengths in metres, `warm` in kelvin."""

import numpy as np

from .canvas import RING, Matter
from .things import BLACK, GLASS, SKIN, WHITE

# Parts of a body of height 1, from the far side to the near one: what, from, to, radius there and there. The front view
# is symmetric, so its parts off the axis are drawn on both sides; side views look right.
POSES = {
    "stand": [("coat", (0.05, 0.78), (0.035, 0.5), 0.062, 0.055), ("coat", (0.01, 0.83), (0.1, 0.785), 0.034, 0.034),
              ("legs", (0.05, 0.5), (0.055, 0.27), 0.055, 0.038), ("legs", (0.055, 0.27), (0.06, 0.05), 0.038, 0.026),
              ("shoe", (0.065, 0.02), (0.08, 0.02), 0.028, 0.022), ("coat", (0.11, 0.775), (0.135, 0.62), 0.034, 0.028),
              ("coat", (0.135, 0.62), (0.13, 0.5), 0.028, 0.024), ("skin", (0.13, 0.48), (0.128, 0.45), 0.022, 0.02),
              ("skin", (0, 0.84), (0, 0.88), 0.03, 0.03), ("hair", (-0.008, 0.955), (0.008, 0.955), 0.046, 0.046),
              ("skin", (0, 0.905), (0, 0.93), 0.04, 0.044)],
    "walk": [("legs", (-0.01, 0.5), (-0.06, 0.28), 0.055, 0.04), ("legs", (-0.06, 0.28), (-0.19, 0.07), 0.038, 0.026),
             ("shoe", (-0.2, 0.05), (-0.15, 0.02), 0.026, 0.022), ("coat", (-0.01, 0.77), (0.1, 0.64), 0.034, 0.028),
             ("coat", (0.1, 0.64), (0.17, 0.55), 0.027, 0.022), ("skin", (0.185, 0.535), (0.195, 0.525), 0.022, 0.02),
             ("coat", (0.01, 0.76), (-0.01, 0.52), 0.075, 0.065), ("legs", (0.0, 0.5), (0.1, 0.29), 0.057, 0.042),
             ("legs", (0.1, 0.29), (0.15, 0.06), 0.04, 0.027), ("shoe", (0.15, 0.025), (0.21, 0.025), 0.027, 0.02),
             ("coat", (0.0, 0.78), (-0.09, 0.64), 0.036, 0.03), ("coat", (-0.09, 0.64), (-0.07, 0.53), 0.03, 0.024),
             ("skin", (-0.06, 0.51), (-0.05, 0.49), 0.023, 0.02), ("skin", (0.02, 0.84), (0.02, 0.88), 0.03, 0.03),
             ("hair", (0.012, 0.95), (0.02, 0.96), 0.048, 0.045), ("skin", (0.035, 0.905), (0.04, 0.93), 0.036, 0.038)],
    "kneel": [("legs", (-0.02, 0.28), (-0.03, 0.06), 0.06, 0.05), ("legs", (-0.03, 0.05), (-0.22, 0.04), 0.045, 0.03),
              ("legs", (0, 0.28), (0.18, 0.29), 0.06, 0.045), ("legs", (0.18, 0.29), (0.17, 0.05), 0.042, 0.03),
              ("shoe", (0.17, 0.025), (0.23, 0.025), 0.028, 0.022), ("coat", (0.05, 0.56), (-0.01, 0.31), 0.085, 0.075),
              ("coat", (0.05, 0.56), (0.16, 0.46), 0.036, 0.03), ("coat", (0.16, 0.46), (0.27, 0.52), 0.03, 0.024),
              ("skin", (0.28, 0.53), (0.3, 0.54), 0.024, 0.022), ("hair", (0.08, 0.72), (0.09, 0.73), 0.048, 0.045),
              ("skin", (0.1, 0.68), (0.105, 0.7), 0.038, 0.04)],
    "ride": [("legs", (-0.1, 0.56), (0.08, 0.45), 0.055, 0.042), ("legs", (0.08, 0.45), (0.0, 0.27), 0.038, 0.028),
             ("coat", (0.08, 0.82), (-0.08, 0.58), 0.075, 0.07), ("legs", (-0.1, 0.56), (0.11, 0.36), 0.055, 0.042),
             ("legs", (0.11, 0.36), (0.03, 0.13), 0.038, 0.028), ("shoe", (0.03, 0.1), (0.08, 0.1), 0.026, 0.02),
             ("coat", (0.08, 0.82), (0.16, 0.68), 0.034, 0.028), ("coat", (0.16, 0.68), (0.27, 0.63), 0.026, 0.022),
             ("skin", (0.29, 0.63), (0.3, 0.63), 0.022, 0.02), ("hair", (0.14, 0.98), (0.15, 0.99), 0.048, 0.045),
             ("skin", (0.16, 0.94), (0.165, 0.96), 0.038, 0.04)],
}  # fmt: skip


def person(s, x, z, coat, pose="walk", facing=1, tall=1.75, legs=(0.07, 0.08, 0.12)):
    """A dressed body; facing -1 looks left. Face and hands are view.body kelvin above the air, clothes less."""
    body = s.view.body
    kinds = {"coat": Matter(coat, 0.62 * body, 0.5, 0.7, 14), "legs": Matter(legs, 0.52 * body, 0.4, 0.7, 14),
             "skin": Matter(SKIN, body, 0.1, 0.4), "shoe": Matter(BLACK, 0.25 * body),
             "hair": Matter((0.08, 0.06, 0.05), 0.65 * body)}  # fmt: skip
    if pose != "ride":  # shoes shield and warm the ground around them
        spot = [(x + 0.32 * c, 0, z + 0.25 * d) for c, d in RING]
        s.poly(spot, Matter((0.06, 0.06, 0.06), 0.1 * body, 0.3, 0.5, holes=0.3), cast=False)
    for depth, (what, (a, b), (c, d), r, r2) in enumerate(POSES[pose]):
        zz = z * (1 - depth * 1e-3)  # the parts keep the order of the list
        for side in (1, -1) if pose == "stand" and a > 0 else (facing,):
            p, q = (x + side * a * tall, b * tall, zz), (x + side * c * tall, d * tall, zz)
            s.rod(p, q, r * tall, kinds[what], r2 * tall)


# Tubes of the frame, fork and handlebar: from, to (metres ahead of the middle, metres up).
BICYCLE = [(-0.52, 0.34, -0.05, 0.3), (-0.52, 0.34, -0.2, 0.85), (-0.05, 0.3, -0.22, 0.95), (-0.05, 0.3, 0.36, 0.85),
           (-0.2, 0.85, 0.36, 0.88), (0.52, 0.34, 0.36, 1.05), (0.36, 1.05, 0.48, 1.1)]  # fmt: skip


def cyclist(s, x, z, coat, facing=1):
    """A rider on a bicycle, seen from the side."""
    tyre, frame = Matter(BLACK, -1, 0.1), Matter((0.35, 0.05, 0.05), 0.5, 0.1)
    for hub in (-0.52, 0.52):
        rim = [(x + hub + 0.33 * a, 0.34 + 0.33 * b, z) for a, b in RING]
        for p, q in zip(rim, [*rim[1:], rim[0]], strict=True):
            s.rod(p, q, 0.022, tyre)
    for a, b, c, d in BICYCLE:
        s.rod((x + facing * a, b, z), (x + facing * c, d, z), 0.025, frame)
    person(s, x, z * 0.995, coat, "ride", facing)


# Side profiles (metres from the tail, metres up); points 4 and 5 are the roof's ends, 3-4 and 5-6 the panes.
PROFILES = {
    "sedan": [(0, 0.3), (-0.03, 0.6), (0.05, 0.98), (0.55, 1.03), (1.25, 1.42), (2.4, 1.45), (3.2, 1.0), (4.1, 0.86),
              (4.35, 0.7), (4.4, 0.3)],
    "van": [(0, 0.4), (-0.03, 0.7), (0.02, 1.15), (0.04, 1.25), (0.25, 2.1), (4.0, 2.15), (4.65, 1.3), (5.1, 1.1),
            (5.2, 0.9), (5.2, 0.4)],
}  # fmt: skip


class Car:
    """A car with its middle at (x, z), drawn at once; heading 0 drives away, 90 to the right, 180 comes.

    hot: 1 has been driven, 0 has stood for long; lights: 0 off to 1.
    """

    def __init__(self, s, x, z, heading, rgb, hot=1.0, lights=0.0, kind="sedan"):
        turn = np.deg2rad(heading)
        self.s, self.x, self.z, self.profile = s, x, z, PROFILES[kind]
        self.ahead, self.right = (np.sin(turn), np.cos(turn)), (np.cos(turn), -np.sin(turn))
        self.long, self.half, self.inset = self.profile[-1][0], 0.88, 0.22 if kind == "sedan" else 0.1
        self.body = Matter(rgb, -1.0 + 2.5 * hot, 0.04, 0.15, 2)
        self._shell(hot)
        for w in (-1, 1):
            self._side(w, hot)
        self._ends(hot, lights)
        under = [self.at(l, 0.0, w * self.half) for l, w in ((-0.1, -1), (self.long, -1), (self.long, 1), (-0.1, 1))]
        s.poly(under, Matter((0.05, 0.05, 0.05), 1 + 3 * hot, 0.2, 0.5, 4), cast=False, shade=1.0)
        if lights and not s.view.sun:
            beam = (self.ahead[0], -0.08, self.ahead[1])
            s.lamps.append((self.at(self.long + 0.3, 0.65, 0), np.array([1, 0.95, 0.85]) * 40 * lights, beam))
            s.lamps.append((self.at(-0.4, 0.8, 0), np.array([1, 0.08, 0.05]) * 0.5 * lights, None))

    def at(self, l, y, w):
        """World position of a point l ahead of the tail, y up, w to the right of the middle."""
        l -= self.long / 2
        return self.x + self.ahead[0] * l + self.right[0] * w, y, self.z + self.ahead[1] * l + self.right[1] * w

    def width(self, i):
        return self.half - self.inset * (i in (4, 5)) - 0.05 * (i in (0, 9))

    def _shell(self, hot):
        """The profile drawn out from left to right: tail, boot, panes, roof, warm bonnet, grille."""
        for i in range(len(self.profile) - 1):
            (l0, y0), (l1, y1) = self.profile[i : i + 2]
            w0, w1 = self.width(i), self.width(i + 1)
            edge = np.array([self.at(l0, y0, -w0), self.at(l0, y0, w0), self.at(l1, y1, w1), self.at(l1, y1, -w1)])
            self.s.poly(edge, self.body._replace(warm=self.body.warm + hot * (5 if i >= 6 else 1.5 if i < 2 else 0)))
            if i in (3, 5):
                self.s.poly(edge.mean(0) + (edge - edge.mean(0)) * (0.88, 0.88, 0.88), GLASS, cast=False)

    def _side(self, w, hot):
        """One flank: body, leaning upper part with two windows, wheels."""
        s, long = self.s, self.long
        s.poly([self.at(l, y, w * self.half) for i, (l, y) in enumerate(self.profile) if i not in (4, 5)], self.body)
        upper = np.array([self.at(*self.profile[i], w * self.width(i)) for i in (3, 4, 5, 6)])
        s.poly(upper, self.body)
        upper = upper + np.array([self.right[0], 0, self.right[1]]) * (0.03 * w)  # panes lie before the bent sheet
        for lo, hi in ((0.14, 0.48), (0.53, 0.86)):  # two side windows between the pillars
            foot = [upper[0] + (upper[3] - upper[0]) * t for t in (lo, hi)]
            head = [upper[1] + (upper[2] - upper[1]) * t for t in (lo - 0.06, hi + 0.06)]
            low, high = [[f + (h - f) * t for f, h in zip(foot, head, strict=True)] for t in (0.1, 0.86)]
            s.poly([*low, *high[::-1]], GLASS, cast=False)
        for l in (0.8, long - 0.85):
            for r, warm, rgb in (
                (0.42, 0, BLACK),
                (0.34, 10, (0.04, 0.04, 0.04)),
                (0.2, 5, (0.42, 0.42, 0.43)),
                (0.07, 7, BLACK),
            ):
                disc = [self.at(l + r * c, max(0.34 + r * d, 0.02), w * (self.half + 0.03 - 0.05 * r)) for c, d in RING]
                s.poly(disc, Matter(rgb, 1 + warm * hot, 0.1, 0.2), cast=False)

    def _quad(self, l, y, w, half, height, matter):
        corners = [(y, w - half), (y, w + half), (y + height, w + half), (y + height, w - half)]
        self.s.poly([self.at(l, *c) for c in corners], matter, cast=False)

    def _ends(self, hot, lights):
        """Lamps, bumpers, plates and the tyres below them, at both ends."""
        rubber, trim = Matter((0.03, 0.03, 0.03), 1 + 8 * hot, 0.1), Matter((0.07, 0.07, 0.07), 1 + 2 * hot, 0.1)
        for l in (-0.04, self.long + 0.02):
            for w in (-0.7, 0.7):
                self._quad(l, 0.02, w, 0.11, 0.32, rubber)
            self._quad(l, 0.28, 0, self.half, 0.2, trim)
            self._quad(l + (0.01 if l > 0 else -0.01), 0.52 if l < 0 else 0.36, 0, 0.26, 0.12, Matter(WHITE, hot, 0.1))
        self._quad(self.long + 0.02, 0.5, 0, 0.4, 0.14, Matter((0.05, 0.05, 0.05), 9 * hot, 0.1))
        self._quad(-0.05, 0.3, 0.5, 0.08, 0.08, Matter((0.05, 0.05, 0.05), 14 * hot, 0.1))  # exhaust
        for w in (-0.64, 0.64):
            self._quad(-0.05, 0.68, w, 0.19, 0.17, Matter((0.55, 0.03, 0.02), hot, 0.1, glow=0.15 + 1.6 * lights))
            self._quad(
                self.long + 0.02, 0.52, w, 0.2, 0.17, Matter((1, 0.97, 0.88), 2 * hot, 0.05, glow=0.1 + 30 * lights)
            )
