"""Rendered sample pairs of registered infrared and visible pictures; scripts/make_samples.py is the command.

canvas: camera and depth buffer. things, movers: what is drawn. scenes: where it stands. sensors: how it is seen.

Same pixels on every machine: the layers use only +, -, *, / and square roots, which IEEE 754 fixes to the last bit;
what a library may sum in its own order (means, blurs, powers) is computed in float64, far from the rounding of a pixel.
OpenCV draws nothing here (its polygons changed with version 4.11, its lettering with 5); of NumPy's generators only
`random` is used.
"""
