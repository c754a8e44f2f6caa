"""Loops over rows of pixels, compiled by numba: how a CPU passes over features without waiting for its memory.

A row of features is (w, c), contiguous, float32 or bfloat16; NumPy lacks the latter, so it is uint16 here. Only what
enters a matrix product is bfloat16 where that is asked for: products, sums and everything between them are float32.
Nothing outside of `fusion.inference` imports this, and that only where numba is installed.
"""
