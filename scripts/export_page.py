"""Write a page that fuses pictures in the browser, without installation, server or upload.

    python scripts/export_page.py [-o web] [--weights FILE] [--runtime FOLDER]

The folder works from any static host and when index.html is opened from disk. It holds the network as ONNX and
onnxruntime-web, which is taken from the npm registry (`npm pack`) or from --runtime, a `dist` folder of it.
Needs npm and the extra packages: pip install -e '.[onnx]'. Exit status: 0, or 2 where nothing was written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, installed or not
sys.path.insert(0, str(Path(__file__).resolve().parent))

from fusion.terminal import need_opencv

if __name__ == "__main__":
    need_opencv()  # or end in one line

from export_onnx import export

from fusion import __version__, build, web, weights
from fusion.registry import UnknownName
from fusion.terminal import forgive_encodings

ROOT = Path(__file__).resolve().parents[1]
RUNTIME_VERSION = "1.30.0"  # of onnxruntime-web; another one may name its files otherwise
SAMPLES = ("02_street_night", "04_harbour_dusk")


def main(arguments: list[str] | None = None) -> int:
    forgive_encodings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("web"), help="default: %(default)s")
    parser.add_argument("--weights", type=Path, default=weights.shipped("swift"), help="of swift")
    parser.add_argument("--runtime", type=Path, help="dist folder of onnxruntime-web (default: from npm)")
    args = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            runtime = args.runtime or fetched(Path(folder))
            if missing := [f for files in web.RUNTIMES.values() for f in files if not (runtime / f).is_file()]:
                raise ValueError(f"{runtime} lacks {missing[0]}: expected dist of onnxruntime-web {RUNTIME_VERSION}")
            model = Path(folder) / "swift.onnx"
            export(build.network("swift", args.weights), "swift", model)
            about = {"network": args.weights.stem, "version": __version__, "runtime": RUNTIME_VERSION}
            web.write(args.out, model.read_bytes(), about, runtime, samples())
    except (ValueError, UnknownName, OSError, ImportError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
    print(f"{args.out}/index.html: open it, or put the folder on any static host ({size:.1f} MB)")
    return 0


def fetched(folder: Path) -> Path:
    """What is needed of onnxruntime-web, from the npm registry; nothing of it is run. Raises OSError in one line."""
    needed = [f"package/dist/{file}" for files in web.RUNTIMES.values() for file in files]
    command = ["npm", "pack", "--silent", f"onnxruntime-web@{RUNTIME_VERSION}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            archive.extractall(folder, [archive.getmember(name) for name in needed], filter="data")
    except FileNotFoundError:
        raise OSError("npm is not installed: it brings onnxruntime-web (or --runtime names its dist folder)") from None
    except (subprocess.CalledProcessError, IndexError, KeyError, tarfile.TarError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        raise OSError(f"npm could not fetch onnxruntime-web {RUNTIME_VERSION}: {''.join(reason)}") from error
    return folder / "package" / "dist"


def samples() -> dict[str, tuple[bytes, bytes]]:
    folder = ROOT / "test_img/sample"
    return {n: tuple((folder / kind / f"{n}.png").read_bytes() for kind in ("ir", "vi")) for n in SAMPLES}


if __name__ == "__main__":
    sys.exit(main())
