"""Fuse infrared and visible (or medical) images: CDDFuse, SHIP and CPFusion, trained, run and measured alike.

    import fusion
    network = fusion.load("swift")
    picture = fusion.fuse(network, "ir.png", "vis.png")
    scores = fusion.evaluate(picture, "ir.png", "vis.png")

`ir`, `vis` and `fused` are paths or arrays: uint8, uint16, or float in [0, 1]; (H, W) or (H, W, 3) RGB.
"""

# The functions import what they need when called, so that `import fusion.images` does not load PyTorch.

__version__ = "0.1.0"


def load(name=None, weights=None, *, task="", speed="exact", max_memory=None, device="cpu", **options):
    """A network that fuses, in evaluation mode: by its name with the weights that come with the project, or by a file.

    name: `cddfuse`, `ship`, `swift`, `cpfusion`, or whatever else is registered; or the path of an .onnx file that
        `scripts/export_onnx.py` wrote. Not needed where `weights` is a file, which says of which network it is.
    weights: a file: ours, the authors' checkpoint, a state dict, a checkpoint of a run; None: the shipped ones;
        `none`: the untrained network, which says so when it first fuses.
    task: `medical` takes weights and options that suit it, where there are such.
    speed: how pictures are fused: `exact` (float32), `bf16` (under half a gray level away on average, where that is
        faster on the processor; else exact, which is told), `fast` (the same without a word), `compiled` (float32 by
        torch.compile).
    max_memory: what the tensors of one pair may take, in bytes or as `3GiB`; cddfuse, swift (the same result) and ship
        (overlapping tiles where the whole picture does not fit, which warns how far they differ). A pair that needs
        more raises ValueError. Not stated: no bound on a CPU, four fifths of what is free on a GPU.
    device: where pictures are fused: `cpu`, `cuda`, `cuda:1`, ..., or `auto`, the GPU where there is one that works.
    options: constructor arguments.
    Raises LookupError for an unknown name, ValueError for options or weights that do not fit or are not finite and for
    a device that is not there, FileNotFoundError.
    """
    from fusion import build

    return build.ready(name, weights, options, task, speed=speed, max_memory=max_memory, device=device)


def fuse(network, ir, vis, *, output="colour", task="infrared-visible", range="auto"):
    """Fuse a pair; returns uint8 (H, W) or (H, W, 3) RGB, the picture `test.py` would save.

    output: `colour` (where the visible image has colour) or `gray`.
    task: `medical` takes the colour of the functional image (PET, SPECT), passed as `ir`.
    range: what becomes black and white, `IR` or `IR,VIS`, each `auto` (8-bit pictures as they are; 16-bit ones that use
        a fraction of their range, and files of signed counts or degrees, stretched with a warning), `full` (of the
        type), `percentile`, or LOW..HIGH in the samples' units.
    Raises ValueError for a pair that cannot be fused (two sizes, too small), OSError for a file.
    """
    from fusion import infer

    return infer.fuse(network, ir, vis, output=output, task=task, range=range)


def evaluate(fused, ir, vis, profile="cddfuse", *, range="auto"):
    """Every metric of a profile, on the pictures' 8-bit luminance: {name: value}.

    range: what the sources were fused with (see `fuse`); the fused picture counts as it is.
    Raises LookupError for an unknown profile, ValueError for pictures of different or too small sizes.
    """
    from fusion import images, infer, metrics, reading

    of_ir, of_vis = reading.of_pair(range)
    pictures = (("fused", fused, "full"), ("ir", ir, of_ir), ("vis", vis, of_vis))
    levels = (images.grey_levels(infer.as_array(picture, what, how)) for what, picture, how in pictures)
    return metrics.evaluate(*levels, profile=profile)
