"""Videos: frames with their times out of files, folders, cameras and addresses; pairs of them; frames into a file.

Frames are (H, W) or (H, W, 3) RGB, uint8, or uint16 of deep gray videos, like the pictures of `images.py`. A few
frames are held at a time, whatever the length.
"""

from fusion.videos.depth import with_range
from fusion.videos.live import Live
from fusion.videos.sources import FPS, LIVE, Pictures, Video, is_source, opened
from fusion.videos.timeline import Pairs, ahead
from fusion.videos.window import Window
from fusion.videos.writing import CODECS, writing

__all__ = [
    "CODECS",
    "FPS",
    "LIVE",
    "Live",
    "Pairs",
    "Pictures",
    "Video",
    "Window",
    "ahead",
    "is_source",
    "opened",
    "with_range",
    "writing",
]
