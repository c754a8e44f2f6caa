"""Camera, depth buffer and the three shapes everything in a sample scene is drawn with. No paper stands behind it.

A scene is drawn once, into layers (reflectance, glow, temperature, normal, depth) that both sensors read afterwards: so
a pair is registered exactly, and what only one sensor sees follows from the scene.
"""

from typing import NamedTuple

import numpy as np

SS = 3  # samples per pixel and axis
RING = [(np.cos(a), np.sin(a)) for a in np.arange(18) * (np.pi / 9)]


class Matter(NamedTuple):
    """What a surface is made of, for both sensors."""

    rgb: tuple  # reflectance, 0..1
    warm: float = 0.0  # kelvin above the air
    rough: float = 0.3  # contrast of the visible texture
    vary: float = 0.6  # kelvin of thermal texture
    grain: float = 10.0  # texture cells per metre
    bricks: float = 0.0  # height of a course in metres, 0 for none
    glow: float = 0.0  # light given off, in units of a white wall in the sun
    holes: float = 0.0  # share of the area that is worn away


class View(NamedTuple):
    """Camera, weather, light and the two sensors of one scene."""

    size: tuple  # width, height of the finished pictures
    focal: float = 1.0  # in picture widths
    horizon: float = 0.42  # in picture heights from the top
    eye: float = 1.7  # camera above the ground, metres
    sun: tuple = ()  # towards the sun (right, up, away); empty at night
    ambient: tuple = (0.32, 0.36, 0.42)  # light from the whole sky
    sky: tuple = ((0.35, 0.55, 0.95), (0.85, 0.9, 0.95))  # radiance at the top, at the horizon
    clouds: float = 0.5
    fog: float = 1500.0  # metres over which contrast falls to 1/e
    shore: float = 0.0  # metres to the far bank that water mirrors, 0 without water
    exposure: float = 1.0
    grain: float = 0.012  # noise of the visible sensor
    cold: float = 22.0  # kelvin the sky overhead lies below the air
    body: float = 14.0  # kelvin of bare skin above the air
    gamma: float = 1.0  # of the infrared picture; above 1 darkens all but the hottest
    bits: int = 8  # of the infrared picture
    colour: str = "colour"  # of the visible picture: colour, gray, or gray stored as three equal channels: rgbgray


def fractal(rng, cells, side=512):
    """Periodic value noise with octaves of these cell counts, (side, side) float32 in [0, 1], mean 0.5, SD 0.18."""
    total = np.zeros((side, side))
    for n in cells:
        grid = rng.random((n, n)) - 0.5
        at = np.arange(side) * (n / side)
        low = at.astype(int)
        part = (at - low) ** 2 * (3 - 2 * (at - low))
        rows = grid[low] * (1 - part)[:, None] + grid[(low + 1) % n] * part[:, None]
        total += rows[:, low] * (1 - part) + rows[:, (low + 1) % n] * part
    return np.clip(0.5 + total * (0.18 / np.sqrt((total * total).mean())), 0, 1).astype(np.float32)


def shares(values, mask):
    """Each value, broadcast to the mask's shape, at the mask's samples."""
    return [np.broadcast_to(v, mask.shape)[mask] for v in values]


class Scene:
    """Layers (H, W[, 3]) float32 at SS samples per pixel and axis.

    World axes: x right, y up, z away from the camera, metres; the camera stands at (0, view.eye, 0) and looks along z.
    """

    def __init__(self, view, rng):
        self.view, self.rng = view, rng
        self.coarse, self.fine = fractal(rng, (4, 8, 16, 32, 64, 128)), fractal(rng, (128, 256, 512))
        w, h = view.size[0] * SS, view.size[1] * SS
        self.focal, self.cx, self.cy = view.focal * w, w / 2, view.horizon * h
        self.rx = ((np.arange(w) + 0.5 - self.cx) / self.focal).astype(np.float32)[None]
        self.ry = ((self.cy - np.arange(h) - 0.5) / self.focal).astype(np.float32)[:, None]
        self.rgb, self.glow, self.normal = (np.zeros((h, w, 3), np.float32) for _ in range(3))
        self.warm, self.shade, self.smoke, self.smoke_tone = (np.zeros((h, w), np.float32) for _ in range(4))
        self.z = np.full((h, w), 1e4, np.float32)
        self.water = np.zeros((h, w), bool)
        self.lamps = []  # (position, rgb power, direction or None)
        self._sky()

    def _sky(self):
        """Gradient and clouds into glow (visible) and warm (infrared); the ground is drawn over the lower part."""
        view, up = self.view, np.clip(self.ry / self.ry[0, 0], 0, 1)
        height = np.maximum(self.ry, 0) + 0.12  # clouds lie in a plane, so they crowd towards the horizon
        cloud = self.texture(1 / height + 0 * self.rx, self.rx / height, 16.0)
        cloud = np.clip((cloud - 0.4) * 2.5, 0, 1) * np.float32(view.clouds)
        top, low = (np.array(c, np.float32) for c in view.sky)
        self.glow[:] = (low + (top - low) * up[..., None]) + cloud[..., None] * (
            low * 0.6 + low.max() * np.float32(0.2)
        )
        self.warm[:] = np.float32(view.cold) * (0.8 * cloud - 0.4 - 0.6 * up)

    def texture(self, a, b, cells, noise=None):
        """Smooth noise at world coordinates a, b (metres), `cells` per metre; float32 in [0, 1]."""
        noise = self.coarse if noise is None else noise
        a, b = np.asarray(a, np.float32) * np.float32(cells), np.asarray(b, np.float32) * np.float32(cells)
        i, j = np.floor(a), np.floor(b)
        u, v, last = a - i, b - j, len(noise) - 1
        i, j = i.astype(np.int64), j.astype(np.int64)
        i, k, j, l = i & last, (i + 1) & last, j & last, (j + 1) & last
        near, far = noise[i, j], noise[k, j]
        near, far = near + (noise[i, l] - near) * v, far + (noise[k, l] - far) * v
        return near + (far - near) * u

    def project(self, point):
        """World -> column, row, samples per metre there."""
        x, y, z = map(float, point)
        scale = self.focal / max(z, 0.5)
        return self.cx + x * scale, self.cy - (y - self.view.eye) * scale, scale

    def window(self, x0, y0, x1, y1):
        """Slices of the layers covering these columns and rows, or None outside the picture."""
        h, w = self.z.shape
        x0, y0, x1, y1 = max(int(x0) - 1, 0), max(int(y0) - 1, 0), min(int(x1) + 2, w), min(int(y1) + 2, h)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def around(self, point, rx, ry):
        """Window of rx, ry metres around a point, with its columns and rows in metres from the point; or None."""
        u, v, scale = self.project(point)
        at = self.window(u - rx * scale, v - ry * scale, u + rx * scale, v + ry * scale)
        if at is None:
            return None
        gx = ((np.arange(at[1].start, at[1].stop) + 0.5 - u) / scale).astype(np.float32)[None]
        gy = ((np.arange(at[0].start, at[0].stop) + 0.5 - v) / scale).astype(np.float32)[:, None]
        return at, gx, gy

    def put(self, at, mask, z, normal, matter, a, b, shade=0.0):
        """Draws the samples of `mask` that nothing nearer covers; a, b: texture coordinates in metres."""
        mask &= z < self.z[at] * 1.001  # what is painted on a wall lies in the wall's plane
        if not mask.any():
            return
        if matter.holes:
            worn = self.texture(a, b, matter.grain * 0.4, self.fine) < 0.5 + 0.6 * (matter.holes - 0.5)
            mask &= ~np.broadcast_to(worn, mask.shape)
        z, a, b = shares((z, a, b), mask)
        grain = np.float32(self.focal) / (z * np.float32(2 * matter.grain))  # cells smaller than a sample only flicker
        t = np.zeros_like(z)
        if matter.rough or matter.vary:
            t = (self.texture(a, b, matter.grain) - np.float32(0.5)) * np.minimum(np.float32(0.7), grain * 3)
            t += (self.texture(b, a, matter.grain * 3, self.fine) - np.float32(0.5)) * np.minimum(1, grain * 2)
        tone = 1 + np.float32(2.2 * matter.rough) * t
        if matter.bricks:
            tone *= self._bricks(a / np.float32(matter.bricks), b / np.float32(2.4 * matter.bricks), matter.bricks, z)
        self.rgb[at][mask] = np.clip(np.array(matter.rgb, np.float32) * tone[:, None], 0.008, 1)
        self.glow[at][mask] = np.array(matter.rgb, np.float32) * (np.float32(matter.glow) * tone[:, None])
        self.warm[at][mask] = np.float32(matter.warm) + np.float32(4 * matter.vary) * t
        self.normal[at][mask] = np.stack(shares(normal, mask), -1)
        self.z[at][mask], self.water[at][mask] = z, False
        if shade is not None:
            self.shade[at][mask] = shade

    def _bricks(self, up, along, course, z):
        """Factor on the reflectance: joints, and bricks of different colour; faint where they get small."""
        row = np.floor(up)
        along = along + row * np.float32(0.5)
        joint = (up - row < 0.2) | (along - np.floor(along) < 0.09)
        brick = self.fine[row.astype(np.int64) % 512, np.floor(along).astype(np.int64) * 7 % 512]
        seen = np.minimum(1, np.float32(course * self.focal / (2 * SS)) / z)
        return 1 + seen * np.where(joint, np.float32(-0.4), (brick - np.float32(0.5)) * np.float32(1.1))

    def poly(self, points, matter, cast=True, shade=0.0):
        """A flat polygon, points (N, 3). `cast`: its shadow falls on the ground drawn so far."""
        p, eye = np.asarray(points, float), (0, self.view.eye, 0)
        if not p[:, 1].any() and not shade:
            shade = None  # what is painted on the ground stays in the shade that lies there
        uv = np.array([self.project(q)[:2] for q in p])
        if cast:
            self.shadow(p)
        at = self.window(*uv.min(0), *uv.max(0))
        if at is None:
            return
        n = np.cross(p[1] - p[0], p[2] - p[0])
        n /= np.sqrt((n * n).sum()) + 1e-12
        away = ((p[0] - eye) * n).sum()
        n, away = (-n, -away) if away > 0 else (n, away)
        rx, ry = self.rx[:, at[1]], self.ry[at[0]]
        slope = np.float32(n[0]) * rx + np.float32(n[1]) * ry + np.float32(n[2])
        z = np.float32(away) / np.where(np.abs(slope) < 1e-6, np.float32(-1e-6), slope)
        z = np.clip(z, np.float32(p[:, 2].min()), np.float32(p[:, 2].max()))
        x, y = rx * z, ry * z + np.float32(self.view.eye)
        a, b = (z, x) if abs(n[1]) > 0.7 else (y, z) if abs(n[0]) > 0.7 else (y, x)
        self.put(at, self.fill(uv, at), z, n.astype(np.float32), matter, a, b, shade)

    def fill(self, uv, at):
        """Mask of the samples of the window inside the polygon uv (columns, rows), even-odd.

        Each row's crossings with the edges switch outside to inside and back. (cv2.fillPoly depends on its version.)
        """
        h, w = at[0].stop - at[0].start, at[1].stop - at[1].start
        p = uv - (at[1].start, at[0].start)
        q, y = np.roll(p, -1, 0), np.arange(h) + 0.5
        edge, row = np.nonzero((p[:, 1:] <= y) != (q[:, 1:] <= y))
        p, q, y = p[edge], q[edge], y[row]
        x = p[:, 0] + (y - p[:, 1]) * ((q[:, 0] - p[:, 0]) / (q[:, 1] - p[:, 1]))
        column = np.clip(np.ceil(x - 0.5), 0, w).astype(np.int64)
        switches = np.bincount(row * (w + 1) + column, minlength=h * (w + 1)).astype(np.uint8).reshape(h, w + 1)
        return (np.cumsum(switches, 1, np.uint8)[:, :-1] & 1).astype(bool)

    def shadow(self, points):
        """Marks the ground drawn so far that these points shield from the sun."""
        sun = self.view.sun
        if not sun or max(p[1] for p in points) < 0.15:
            return
        flat = [(x - sun[0] * y / sun[1], 0, max(z - sun[2] * y / sun[1], 1.0)) for x, y, z in points]
        uv = np.array([self.project(q)[:2] for q in flat])
        at = self.window(*uv.min(0), *uv.max(0))
        if at is not None:
            ground = np.float32(self.view.eye) / np.maximum(-self.ry[at[0]], np.float32(1e-4))
            mask = self.fill(uv, at) & (np.abs(self.z[at] - ground) < np.float32(0.002) * ground)
            self.shade[at][mask] = 1

    def rod(self, p, q, r, matter, r2=None):
        """A round bar from p to q with radii r, r2 in metres: limbs, trunks, poles, wires, blades."""
        (u, v, s), (u2, v2, s2) = self.project(p), self.project(q)
        r2 = r if r2 is None else r2
        wide, wide2 = max(r * s, 0.5), max(r2 * s2, 0.5)
        big = max(wide, wide2)
        self.shadow([(x + d, y, z) for (x, y, z), d in ((p, -r), (q, -r2), (q, r2), (p, r))])
        at = self.window(min(u, u2) - big, min(v, v2) - big, max(u, u2) + big, max(v, v2) + big)
        if at is None:
            return
        gx = (np.arange(at[1].start, at[1].stop) + 0.5 - u).astype(np.float32)[None]
        gy = (np.arange(at[0].start, at[0].stop) + 0.5 - v).astype(np.float32)[:, None]
        dx, dy = np.float32(u2 - u), np.float32(v2 - v)
        t = np.clip((gx * dx + gy * dy) / (dx * dx + dy * dy + np.float32(1e-3)), 0, 1)
        radius = np.float32(wide) + np.float32(wide2 - wide) * t
        ex, ey = (gx - t * dx) / radius, (gy - t * dy) / radius
        bulge = np.sqrt(np.maximum(1 - ex * ex - ey * ey, 0))
        z = np.float32(p[2]) + np.float32(q[2] - p[2]) * t - np.float32(r) * bulge
        self.put(at, bulge > 0, z, (ex, -ey, -bulge), matter, gy / np.float32(s), gx / np.float32(s))

    def blob(self, centre, rx, ry, matter, ragged=2.2):
        """A ragged ball of leaves with radii rx, ry in metres; each leaf faces its own way."""
        centre, rx, ry = [float(v) for v in centre], float(rx), float(ry)
        self.shadow([(centre[0] + rx * c, max(centre[1] + ry * d, 0), centre[2]) for c, d in RING])
        found = self.around(centre, 1.3 * rx, 1.3 * ry)
        if found is None:
            return
        at, gx, gy = found
        cells = min(matter.grain, self.focal / (centre[2] * 2 * SS))
        leaf = self.texture(gy + centre[0] * 7, gx + centre[2] * 5, cells, self.fine) - np.float32(0.5)
        leaf2 = self.texture(gy + centre[2] * 3, gx + centre[0] * 9, cells, self.fine) - np.float32(0.5)
        ex, ey = gx / np.float32(rx), gy / np.float32(ry)
        inside = 1 - ex * ex - ey * ey
        normal = (ex * 0.5 + leaf * 3, 0.3 - ey * 0.5 + leaf2 * 3, -np.sqrt(np.clip(inside, 0.1, 1)))
        length = np.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
        z = np.float32(centre[2]) - np.float32(0.6 * rx) * np.clip(inside, 0, 1) + leaf * np.float32(rx)
        deep = np.clip(np.float32(0.5) + 2 * leaf2 + 0.25 * ey, 0, 1)  # leaves inside the crown get less sun
        mask = inside + np.float32(ragged) * (leaf + 0.5 * leaf2) > 0.15
        self.put(at, mask, z, [n / length for n in normal], matter, gy, gx)
        drawn = mask & (self.z[at] == z)
        (deep,) = shares((deep,), drawn)
        self.shade[at][drawn] = deep
        self.rgb[at][drawn] *= (np.float32(1.3) - deep)[:, None]
