"""Inference forms: the same functions as the networks, computed without gradients in less time and memory.

One file per method. A form is built from a network's weights by `Network.fuse_for_inference` and knows nothing else of
the project.
"""
