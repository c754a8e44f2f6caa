"""test.py in two processes, which share the pairs and write the tables that one would."""

import csv
import shutil

import numpy as np
import yaml

from fusion import images
from tests.processes import run, several


def test_two_processes_equal_one(tmp_path, root):
    rng = np.random.default_rng(0)
    for i in range(5):
        for kind in ("ir", "vi"):
            images.write(tmp_path / "set" / kind / f"{i}.png", rng.integers(0, 256, (48, 50), np.uint8))
    shutil.copy(tmp_path / "set/ir/0.png", tmp_path / "set/ir/alone.png")
    (tmp_path / "set/vi/3.png").write_bytes(b"no picture")
    models = [{"name": "average"}, {"name": "maximum"}]
    datasets = [{"name": "a", "root": "set"}]
    (tmp_path / "c.yml").write_text(yaml.safe_dump({"out": "x", "models": models, "datasets": datasets}))

    done = {"one": [run(tmp_path, root / "test.py", "-opt", "c.yml", "out=one")]}
    done["two"] = [each.wait() for each in several(2, tmp_path, root / "test.py", "-opt", "c.yml", "out=two")]
    tables = {folder: list(csv.reader((tmp_path / folder / "metrics.csv").open())) for folder in done}
    assert tables["one"] == tables["two"]
    assert len(tables["one"]) == 1 + 4 * 2
    assert [max(each.status for each in done[folder]) for folder in done] == [1, 1]
    said = {folder: "".join(each.out for each in done[folder]) for folder in done}
    assert said["two"].count("All of it") == 1
    for text in ("alone.png has no visible partner", "3.png cannot be decoded"):
        assert text in said["one"]
        assert text in said["two"]
