"""The two cameras: the layers of a `Scene` -> a visible and an infrared picture. No paper stands behind the models."""

import cv2
import numpy as np

from .canvas import SS

SUNLIGHT = (1.0, 0.95, 0.85)
SOLAR = 7.0  # kelvin that the sun adds to a black surface facing it
GRAY = np.array([0.299, 0.587, 0.114])


def down(layer):
    """Mean over SS x SS samples, in float64."""
    h, w = layer.shape[0] // SS, layer.shape[1] // SS
    return layer.astype(np.float64).reshape(h, SS, w, SS, *layer.shape[2:]).mean((1, 3))


def blur(image, sigma):
    """Gaussian, float64."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def vignette(h, w, loss):
    """Fall-off towards the corners, (H, W), 1 in the middle and 1 - loss in the corners."""
    y, x = np.linspace(-1, 1, h)[:, None], np.linspace(-1, 1, w)[None]
    return 1 - loss * (x * x + y * y) / 2


def sunlit(s):
    """Cosine to the sun, zero in the shade; (H, W)."""
    if not s.view.sun:
        return np.zeros_like(s.z)
    sun = (np.array(s.view.sun) / np.sqrt(np.square(s.view.sun).sum())).astype(np.float32)
    cosine = s.normal[..., 0] * sun[0] + s.normal[..., 1] * sun[1] + s.normal[..., 2] * sun[2]
    return np.maximum(cosine, 0) * (1 - s.shade)


def lamplight(s):
    """Light of all lamps on each sample, (H, W, 3): inverse square, cosine, and a cone for headlights."""
    total = np.zeros_like(s.rgb)
    x, y, z = s.rx * s.z, s.ry * s.z + np.float32(s.view.eye), s.z
    for (px, py, pz), power, way in s.lamps:
        dx, dy, dz = np.float32(px) - x, np.float32(py) - y, np.float32(pz) - z
        square = dx * dx + dy * dy + dz * dz + np.float32(0.3)
        length = np.sqrt(square)
        light = (s.normal[..., 0] * dx + s.normal[..., 1] * dy + s.normal[..., 2] * dz) / length
        light = np.maximum(light, 0) + np.float32(0.04)
        if way is not None:
            cone = np.maximum(
                -(dx * np.float32(way[0]) + dy * np.float32(way[1]) + dz * np.float32(way[2])) / length, 0
            )
            cone = cone * cone * cone
            light = light * cone
        total += (light / square)[..., None] * power.astype(np.float32)
    return total


def mirror(s, layer):
    """A layer (H, W[, 3]) in which water shows what stands on its far bank, broken by ripples."""
    if not s.view.shore:
        return layer
    rows, cols = np.nonzero(s.water)
    shore = s.cy + s.view.eye * s.focal / s.view.shore
    z = np.float32(s.view.eye) / -s.ry[rows, 0]
    ripple = s.texture(z * 3, s.rx[0, cols] * z, 1.2) - np.float32(0.5)
    ripple *= np.minimum((rows - shore).astype(np.float32) * np.float32(0.6), np.float32(60))
    source = np.clip((2 * shore - rows + 2 * ripple).astype(int), 0, len(layer) - 1)
    beside = np.clip(cols + (ripple / 4).astype(int), 0, layer.shape[1] - 1)
    out = layer.copy()
    out[rows, cols] = layer[rows, cols] * np.float32(0.5) + layer[source, beside] * np.float32(0.5)
    return out


def radiance(s):
    """Light that arrives from each sample, (H, W, 3): reflected and own, through haze and smoke."""
    view = s.view
    ambient, air = np.array(view.ambient, np.float32), np.array(view.sky[1], np.float32)
    light = ambient * ((0.75 + 0.25 * s.normal[..., 1]) * (1 - 0.25 * s.shade))[..., None]
    light = light + sunlit(s)[..., None] * np.array(SUNLIGHT, np.float32)
    if s.lamps:
        light += lamplight(s)
    seen = mirror(s, s.rgb * light + s.glow)
    clear = 1 / (1 + s.z / np.float32(4 * view.fog)) ** 2
    clear = clear * clear  # close to exp(-z / fog), of exact operations only
    clear = np.where(s.z > 9e3, np.float32(1 if view.fog > 500 else 0.15), clear)[..., None]
    seen = seen * clear + air * (1 - clear)
    veil = s.smoke[..., None]
    return seen * (1 - veil) + s.smoke_tone[..., None] * (ambient + np.float32(0.7 * bool(view.sun))) * veil


def visible(s):
    """(H, W, 3) RGB or (H, W), uint8: the radiance with bloom, noise, a soft shoulder and gamma."""
    view, (w, h) = s.view, s.view.size
    image = down(radiance(s)) * view.exposure
    bright = np.minimum(np.maximum(image - 1.1, 0), 20)
    for sigma, share in ((1.2, 0.3), (4, 0.25), (14, 0.2)):
        image = image + share * blur(bright, sigma)
    image = blur(image * vignette(h, w, 0.35)[..., None], 0.4)
    noise = s.rng.random((h, w, 3)) + s.rng.random((h, w, 3)) - 1
    image = np.maximum(image + noise * view.grain * (0.4 + 1.6 * np.sqrt(np.maximum(image, 0))), 0)
    over = np.maximum(image - 0.7, 0)
    image = np.minimum(image, 0.7) + 0.3 * over / (over + 0.3)
    image = np.round(255 * image ** (1 / 2.2)).astype(np.uint8)
    if view.colour == "colour":
        return image
    gray = np.round(image @ GRAY).astype(np.uint8)
    return gray if view.colour == "gray" else np.repeat(gray[..., None], 3, 2)


def infrared(s):
    """(H, W) uint8 or uint16: the temperature through optics, gain control, detail boost and noise."""
    view, (w, h) = s.view, s.view.size
    dark = 1 - (s.rgb[..., 0] + s.rgb[..., 1] + s.rgb[..., 2]) / 3
    kelvin = mirror(s, s.warm + np.float32(SOLAR) * sunlit(s) * dark)
    kelvin = np.where(
        kelvin < -4, -4 + (kelvin + 4) * np.float32(0.35), kelvin
    )  # gain control spends little on the sky
    kelvin = kelvin * (1 - s.smoke * np.float32(0.12))
    image = blur(down(kelvin), 0.65)
    image = image + 0.6 * (image - blur(image, 9)) + 0.5 * (image - blur(image, 1.5))
    noise = s.rng.random((h, w)) + s.rng.random((h, w)) - 1 + 0.4 * (s.rng.random((1, w)) - 0.5)  # columns differ
    image = image * vignette(h, w, 0.08) + 0.5 * noise
    low, high = np.percentile(image, 0.5), np.percentile(image, 99.6)
    peak = 2**view.bits - 1
    image = np.clip((image - low) / (high - low), 0, 1) ** view.gamma
    return np.round(peak * image).astype(np.uint8 if view.bits == 8 else np.uint16)
