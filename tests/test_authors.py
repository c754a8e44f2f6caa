"""What the golden tests rest on: weights and inputs are bit for bit what the authors' programs were given."""

import authors
import numpy as np
import pytest

from fusion import images

WEIGHTS = {
    "cddfuse": "31afd15c70cc6f8245dd76285fbe801096e4d0d42532b7696ac0ea331f80e10b",
    "ship": "613e15c3024e1ab77fd85f7b99421db43b382e05583bdf3c63278f294e049023",
}


@pytest.mark.parametrize("method", WEIGHTS)
def test_weights(method):
    tensors = [t.numpy().ravel() for part in authors.checkpoint(method).values() for t in part.values()]
    assert authors.digest(np.concatenate(tensors)) == WEIGHTS[method]


def test_first_weights():
    found = authors.checkpoint("cddfuse")["DIDF_Encoder"]["module.patch_embed.proj.weight"].flatten()[:3]
    assert found.tolist() == np.float32([0.14536983, -0.5255955, -0.17730163]).tolist()
    ones = authors.checkpoint("ship")["params"]["interaction1.channel.postprocess.0.invconv.p"].argmax(1)[:6]
    assert ones.tolist() == [23, 28, 1, 6, 11, 16]


@pytest.mark.parametrize("name", authors.numbers("inputs")["pictures"])
def test_grey_levels_of_whole_pictures_are_the_authors(name):
    """Four of the eight hold colours that lie halfway between two levels, where a sum in another order rounds away."""
    recorded = authors.numbers("inputs")["pictures"][name]
    for image, side in zip(authors.picture(name), ("ir", "vi"), strict=True):
        assert list(image.shape[:2]) == recorded["height_width"]
        assert authors.digest(images.grey_levels(image), "u1") == recorded[f"{side}_levels_sha256"]


def test_every_recorded_input_is_made_again():
    for letter in "AB":
        authors.pair("cddfuse", letter)
        authors.pair("ship", letter)
    batch = {name: x.numpy() for name, x in authors.batch().items()}
    authors.check("cddfuse/batch", ir=batch["ir"], vis=batch["vis"])
    fused = authors.noisy((batch["vis"].astype(np.float64) + batch["ir"]) / 2)
    authors.check("ship/batch", fused_without_network=fused)
    for letter in "CDE":
        ir, vis = authors.crop(letter)
        authors.check(f"cpfusion/{letter}", ir=images.to_float(ir), vis_rgb_3hw=images.to_float(vis).transpose(2, 0, 1))


def test_other_inputs_are_noticed():
    ir, vis = authors.pair("cddfuse", "A")
    with pytest.raises(AssertionError, match="cddfuse/A: other inputs"):
        authors.check("cddfuse/A", ir=ir, vis=np.nextafter(vis, np.float32(1)))
