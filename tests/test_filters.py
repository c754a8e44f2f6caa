"""Fixed filters: kornia's numbers to the bit, by kernels that are made once."""

import kornia.filters
import pytest
import torch
from kornia.geometry.transform import pyrdown

from fusion import filters

OURS_AND_THEIRS = [
    (
        lambda x: filters.gaussian(x, 11, 1.5),
        lambda x: kornia.filters.gaussian_blur2d(x, (11, 11), (1.5, 1.5), "reflect", separable=False),
    ),
    (
        lambda x: filters.gaussian_by_rows(x, 5, 1.0),
        lambda x: kornia.filters.gaussian_blur2d(x, (5, 5), (1.0, 1.0), "reflect"),
    ),
    (filters.spatial_gradient, lambda x: kornia.filters.spatial_gradient(x)[:, 0]),
    (filters.halved, pyrdown),
]


@pytest.mark.parametrize(("ours", "theirs"), OURS_AND_THEIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_kornias(ours, theirs, dtype):
    x = torch.rand(2, 1, 23, 34, dtype=dtype)
    # Kornia makes the pyramid's kernel in float32, where it is exact; nothing here may differ by a bit.
    assert torch.equal(ours(x), theirs(x))


def test_rows_of_other_devices(monkeypatch):
    """What a GPU computes: the same kernel as the square one, by rows."""
    monkeypatch.setattr(filters, "gaussian_blur2d", None)
    x = torch.rand(2, 1, 23, 34, dtype=torch.float64)
    row = filters._gaussian_row(x, 5, 1.0)
    by_rows = kornia.filters.filter2d_separable(x, row, row, "reflect")
    torch.testing.assert_close(by_rows, filters.gaussian(x, 5, 1.0), rtol=0, atol=1e-15)


def test_kernels_are_made_once_and_for_backward_passes_too():
    make = filters.made_once(lambda n, dtype: torch.ones(n, dtype=dtype))
    with torch.inference_mode():
        first = make(torch.zeros(1), 3)
    assert make(torch.rand(2, 2), 3) is first
    assert make(torch.rand(2, 2).double(), 3).dtype == torch.float64
    (first * torch.ones(3, requires_grad=True)).sum().backward()
    assert filters.sobel_kernels(first) is filters.sobel_kernels(first)
