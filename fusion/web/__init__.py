"""An exported network -> a folder that fuses pictures in a browser: no installation, no server of ours, no upload.

The folder can be put on any static host or opened from disk. `index.html` is the frame, `style.css` the look,
`pictures.js` reads and writes pictures, `network.js` runs the network and `app.js` is what a person sees and does. The
network and onnxruntime-web stand in scripts, compressed and in base64, because a page opened from disk may load scripts
but not fetch files.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from string import Template

__all__ = ["RUNTIMES", "write"]

HERE = Path(__file__).parent
STYLES = (HERE.parent / "page/colours.css", HERE / "style.css")
FILES = ("pictures.js", "network.js", "app.js")

RUNTIMES = {
    "wasm": ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.min.js", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}
"""Provider -> the files of onnxruntime-web's `dist` folder that it needs. A browser loads one of them."""


def write(
    folder: Path, model: bytes, about: dict[str, str], runtime: Path, samples: dict[str, tuple[bytes, bytes]]
) -> None:
    """Write the page into `folder`.

    model: an ONNX file of inputs `ir`, `vis`, (1, 1, H, W) float32 in [0, 1], and output `fused`.
    about: `network`, `version` and `runtime`, told at the foot of the page.
    runtime: onnxruntime-web's `dist` folder. samples: name -> the PNG files of an infrared and a visible picture.
    Raises OSError where a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frame = Template((HERE / "index.html").read_text(encoding="utf-8"))
    (folder / "index.html").write_text(frame.substitute(about), encoding="utf-8")
    (folder / "style.css").write_bytes(b"\n".join(path.read_bytes() for path in STYLES))
    for name in FILES:
        (folder / name).write_bytes((HERE / name).read_bytes())
    encoded = {name: [base64.b64encode(png).decode() for png in pair] for name, pair in samples.items()}
    data = {"MODEL": packed(model), "SAMPLES": encoded}
    (folder / "data.js").write_text(assignments(data), encoding="utf-8")
    for provider, (program, glue, binary) in RUNTIMES.items():
        data = {"GLUE": (runtime / glue).read_text(encoding="utf-8"), "BINARY": packed((runtime / binary).read_bytes())}
        text = assignments(data) + (runtime / program).read_text(encoding="utf-8")
        (folder / f"runtime-{provider}.js").write_text(text, encoding="utf-8")


def packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def assignments(values: dict[str, object]) -> str:
    return "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items())
