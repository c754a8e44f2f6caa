"""Variables out of a data file of TensorFlow 1, made here byte by byte."""

import numpy as np
import pytest

from fusion import tensorflow_checkpoint, weights
from fusion.tensorflow_checkpoint import LAYOUTS, as_convolution, split


def data(tmp_path, name, layout):
    """All variables one after another, in the order of their names, each filled with its place in that order."""
    numbers = [np.full(layout[key], place, "<f4").tobytes() for place, key in enumerate(sorted(layout))]
    (tmp_path / name).write_bytes(b"".join(numbers))


def test_variables_are_cut_out_in_the_order_of_their_names():
    found = split(np.arange(14, dtype="<f4"), {"b/kernel": (1, 3, 2, 2), "a_b": (1,), "a/b": (1,)})
    assert list(found) == ["a/b", "a_b", "b/kernel"]
    assert (found["a/b"], found["a_b"]) == (0, 1)
    weight = as_convolution(found["b/kernel"])
    assert weight.shape == (2, 2, 1, 3)
    assert weight[1, 0, 0].tolist() == [3, 7, 11]  # output 1 of input 0, along the width


@pytest.mark.parametrize("name", ["m", "m.index", "m.data-00000-of-00001"])
def test_data_index_and_prefix_are_one_checkpoint(tmp_path, name):
    for layout, method in zip(LAYOUTS.values(), ("u2fusion", "sdnet"), strict=True):
        data(tmp_path, "m.data-00000-of-00001", layout)
        (tmp_path / "m.index").write_bytes(b"\0names")
        assert weights.identify(tmp_path / name) == (method, {})
        found = tensorflow_checkpoint.read(tmp_path / name)
        assert all((found[key] == place).all() for place, key in enumerate(sorted(layout)))


@pytest.mark.parametrize("name", ["m.index", "m.meta", "m"])
def test_what_lies_beside_the_data_file_is_not_enough(tmp_path, name):
    (tmp_path / "m.index").write_bytes(b"\0names")
    (tmp_path / "m.meta").write_bytes(b"graph")
    with pytest.raises(FileNotFoundError, match=r"whose data file .*m\.data-00000-of-00001 is not there$"):
        weights.identify(tmp_path / name)


def test_a_cut_file_is_refused(tmp_path):
    layout = next(iter(LAYOUTS.values()))
    data(tmp_path, "m.data-00000-of-00001", layout)
    whole = (tmp_path / "m.data-00000-of-00001").read_bytes()
    (tmp_path / "m.data-00000-of-00001").write_bytes(whole[:-4])
    with pytest.raises(ValueError, match="may be cut"):
        weights.identify(tmp_path / "m.data-00000-of-00001")
