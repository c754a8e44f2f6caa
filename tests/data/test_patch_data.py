"""Reading patch files: both layouts, from any process, and clear words about bad ones."""

import itertools
import pickle
import re

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fusion.data.patch_data import PatchData
from fusion.data.patches import Cut, Options, PatchWriter
from fusion.data.sampler import Batches, Key, loader
from fusion.registry import DATASETS

N, SIZE = 12, 16
PIXELS = np.random.default_rng(0).random((2, N, 1, SIZE, SIZE), np.float32)


def make(path, layout="stacked", ir=PIXELS[0], vis=PIXELS[1]):
    corners = np.array([(0, 10 * i) for i in range(len(ir))], np.int32)
    with h5py.File(path, "w") as file:
        writer = PatchWriter(file, Options(size=SIZE, layout=layout))
        writer.append(Cut("n.png", corners, ir, vis, 0))
        writer.finish()
    return str(path)


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "x.h5")


@pytest.mark.parametrize("layout", ["stacked", "authors"])
def test_samples_are_the_patches_in_order(tmp_path, layout):
    data = PatchData(path=make(tmp_path / "x.h5", layout))
    assert len(data) == N
    for i in range(N):  # past ten, where names no longer sort like numbers
        np.testing.assert_array_equal(data[i]["ir"].numpy(), PIXELS[0, i])
        np.testing.assert_array_equal(data[i]["vis"].numpy(), PIXELS[1, i])
    assert data[3]["name"] == ("n.png@0,30" if layout == "stacked" else "x.h5[3]")
    assert data._offsets is not None  # the fast way


def test_batch_is_its_samples(path):
    data = PatchData(path=path, size=8, augment=True)
    keys = [Key(1, 0, 5), Key(1, 4, 5), Key(1, 0, 2)]
    batch = data.batch(keys)
    assert batch["ir"].shape == (3, 1, 8, 8)
    for place, key in enumerate(keys):
        assert torch.equal(batch["ir"][place], data[key]["ir"])
        assert batch["name"][place] == data[key]["name"]
    assert not torch.equal(batch["ir"][0], batch["ir"][1])  # another epoch, another view


def test_ir_and_vis_are_turned_alike(tmp_path):
    data = PatchData(path=make(tmp_path / "x.h5", vis=1 - PIXELS[0]), size=9, augment=True)
    for epoch in range(20):
        sample = data[Key(0, epoch, 3)]
        np.testing.assert_array_equal(sample["vis"].numpy(), 1 - sample["ir"].numpy())


def test_indices_beyond_the_end(path):
    data = PatchData(path=path)
    assert len(list(data)) == N
    assert torch.equal(data[-1]["ir"], data[N - 1]["ir"])
    with pytest.raises(IndexError, match="patch 12 of 12"):
        data[N]


def test_augmentation_is_the_same_for_any_workers_and_ranks(path):
    data = PatchData(path=path, size=8, augment=True)
    joined = [data.batch(keys) for keys in itertools.islice(Batches(n=N, batch_size=4, seed=7), 6)]
    for workers in (0, 1, 2):
        with loader(data, 4, seed=7, workers=workers) as batches:
            for expected in joined:
                assert torch.equal(next(batches)["ir"], expected["ir"])
    ranks = [loader(data, 4, seed=7, rank=rank, world=2) for rank in (0, 1)]
    for expected in joined:
        assert torch.equal(torch.cat([next(rank)["vis"] for rank in ranks]), expected["vis"])
    with loader(data, 4, seed=7, start_step=4) as resumed:
        assert torch.equal(next(resumed)["ir"], joined[4]["ir"])


@pytest.mark.parametrize("packed", [False, True])
def test_processes_forked_after_reading_read_the_same(tmp_path, packed):
    path = tmp_path / "x.h5"
    make(path)
    if packed:
        repack(path, compression="gzip")
    data = PatchData(path=str(path))
    data[0]  # the map or handle of this process exists
    batches = DataLoader(data, batch_sampler=Batches(n=N, batch_size=4, seed=0), num_workers=2)
    for got, keys in zip(batches, itertools.islice(Batches(n=N, batch_size=4, seed=0), 4), strict=False):
        assert torch.equal(got["ir"], data.batch(keys)["ir"])


def test_a_handle_belongs_to_one_process(path, monkeypatch):
    data = PatchData(path=path)
    handle = data._file()
    assert data._file() is handle
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert data._file() is not handle


def test_pickles_without_its_pixels(path):
    data = PatchData(path=path)
    first = data[0]["ir"]
    packed = pickle.dumps(data)
    assert len(packed) < 5000
    assert torch.equal(pickle.loads(packed)[0]["ir"], first)


def repack(path, **storage):
    with h5py.File(path, "r+") as file:
        for which, pixels in (("ir", PIXELS[0]), ("vis", PIXELS[1])):
            del file[which]
            file.create_dataset(which, data=pixels, **storage)


def test_the_authors_layout_is_read_compressed_too(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for group, pixels in zip(("ir_patchs", "vis_patchs"), PIXELS, strict=True):
            for number, patch in enumerate(pixels):
                file.create_dataset(f"{group}/{number}", data=patch, compression="gzip")
    data = PatchData(path=str(tmp_path / "x.h5"))
    assert data._offsets is None
    np.testing.assert_array_equal(data.batch(list(range(N)))["ir"].numpy(), PIXELS[0])


@pytest.mark.parametrize("storage", [{"compression": "gzip"}, {"chunks": (5, 1, 8, 16)}, {"dtype": ">f4"}, {}])
def test_other_storage_is_read_too(path, storage):
    repack(path, **storage)
    data = PatchData(path=path)
    assert (data._offsets is None) == bool(storage)  # plain contiguous data are mapped as well
    np.testing.assert_array_equal(data.batch(list(range(N)))["vis"].numpy(), PIXELS[1])


def test_hash_is_of_the_pixels_whatever_the_layout(path, tmp_path):
    ours = PatchData(path=path).data_hash
    assert PatchData(path=make(tmp_path / "y.h5", "authors")).data_hash == ours
    assert PatchData(path=make(tmp_path / "z.h5", vis=PIXELS[0])).data_hash != ours
    with h5py.File(path, "r+") as file:
        del file.attrs["sha256"]
    assert PatchData(path=path).data_hash == ours


@pytest.mark.shared
def test_the_authors_own_file(shared):
    data = PatchData(path=str(shared / "golden" / "dataprocessing" / "msrs6.h5"))
    assert (len(data), data.shape) == (35, (128, 128))
    batch = data.batch([2, 34])
    assert batch["vis"][1].max() == 0  # the black one


def test_is_registered(path):
    assert len(DATASETS.build("patches", {"path": path})) == N


# --- bad files ------------------------------------------------------------------------------------------------------


def refused(path, match, **options):
    with pytest.raises(ValueError, match=match) as error:
        PatchData(path=str(path), **options)
    assert "\n" not in str(error.value)
    assert re.match(re.escape(str(path)), str(error.value))


def test_missing_file(tmp_path):
    refused(tmp_path / "no.h5", r"does not exist: make it with scripts/make_patches\.py")


@pytest.mark.parametrize("keep", [0, 100, 3000, -1])
def test_truncated_file(tmp_path, keep):
    make(tmp_path / "x.h5")
    whole = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(whole[:keep])
    refused(tmp_path / "x.h5", "truncated or no h5 file")


def test_wrong_layout(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((3, 8, 8))
    refused(tmp_path / "x.h5", r"no patch file: expected .*'ir_patchs'.*; it holds images \(3, 8, 8\)")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["ir"] = file["vis"] = np.zeros((3, 8, 8), np.float32)
    refused(tmp_path / "x.h5", r"it holds ir \(3, 8, 8\), vis")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["ir_patchs/first"] = file["vis_patchs/first"] = np.zeros((1, 8, 8), np.float32)
    refused(tmp_path / "x.h5", "no patch file")


def test_no_patches(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["ir"] = file["vis"] = np.zeros((0, 1, 8, 8), np.float32)
    refused(tmp_path / "x.h5", "holds no patches")


@pytest.mark.parametrize("layout", ["stacked", "authors"])
def test_unequal_counts(tmp_path, layout):
    make(tmp_path / "x.h5", layout)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        if layout == "stacked":
            file["vis"].resize(N - 1, axis=0)
        else:
            del file["vis_patchs/3"]
    refused(tmp_path / "x.h5", "holds 12 infrared but 11 visible patches")


def test_unequal_sizes(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["ir"], file["vis"] = np.zeros((3, 1, 8, 8), np.float32), np.zeros((3, 1, 8, 9), np.float32)
    refused(tmp_path / "x.h5", r"ir patches are \(8, 8\) but vis patches \(8, 9\)")
    make(tmp_path / "x.h5", "authors")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        del file["vis_patchs/3"]
        file["vis_patchs/3"] = np.zeros((1, 8, 8), np.float32)
    refused(tmp_path / "x.h5", r"/vis_patchs/3 has the shape \(1, 8, 8\)")


def test_other_numbers(tmp_path):
    make(tmp_path / "x.h5", "authors")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file.move("vis_patchs/3", "vis_patchs/30")
    refused(tmp_path / "x.h5", "numbered differently")


def test_patches_smaller_than_the_crop(path):
    refused(path, "holds patches of 16x16, smaller than the crop of 32x32", size=32)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (255, "values from .* to 255"), (-1, "values from -1")])
def test_bad_pixels_are_named(tmp_path, value, what):
    vis = PIXELS[1].copy()
    vis[4, 0, 3, 3] = value
    data = PatchData(path=make(tmp_path / "x.h5", vis=vis))
    data.batch([0, 1, 2, 3])
    with pytest.raises(ValueError, match=rf"patch 4 of vis \(n\.png@0,40\) holds {what}"):
        data.batch([3, 4, 5])
