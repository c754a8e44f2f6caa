"""train.py from the command line: its files, continuing, leaving, repeating, and every way it can go wrong."""

import json
import math
import os
import signal
import stat

import h5py
import numpy as np
import pytest
import tiny
import torch
import yaml
from safetensors.torch import load_file

import fusion
from fusion import build, build_training, images, infer, weights
from fusion.data.patch_data import PatchData
from fusion.networks import CDDFuse
from fusion.training import checkpoint, record
from fusion.training.trainer import Trainer
from fusion.training.watch import Watch

pytestmark = pytest.mark.usefixtures("one_thread")


class Workplace:
    """A folder with patches and tiny.yml, and train.py started in it."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys, self.program = folder, capsys, tiny.program()
        tiny.prepare(folder)

    def run(self, *arguments, opt="tiny.yml"):
        self.status = self.program.main(["-opt", opt, *arguments])
        self.out, self.err = self.capsys.readouterr()
        return self.status

    def refuses(self, *arguments, opt="tiny.yml"):
        """The one line of a refusal; where training has begun, the progress bar stands before it."""
        assert self.run(*arguments, opt=opt) == 2, self.out
        *before, line = self.err.splitlines()
        assert line.startswith("error: "), self.err
        assert all("step/s" in x or "s/step" in x or not x.strip() for x in before), self.err  # slow machines: s/step
        return line.removeprefix("error: ")

    def trains(self, *arguments):
        assert self.run(*arguments) == 0, self.err

    def steps(self, name="tiny"):
        lines = (self.folder / f"runs/{name}/log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def weights(self, name="tiny"):
        return load_file(self.folder / f"models/{name}.safetensors")

    def change(self, **options):
        path = self.folder / "tiny.yml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **options}))


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return Workplace(tmp_path, capsys)


@pytest.fixture
def validation(root):
    datasets = [{"name": "s", "root": str(root / "test_img/sample")}]
    metrics = {"names": ["SF", "MSE"]}
    return {"every": 8, "datasets": datasets, "limit": 1, "pictures": 1, "metrics": metrics, "best": "SF"}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# --- what a run leaves ----------------------------------------------------------------------------------------------


def test_what_looks_wrong_with_the_pictures_is_said_before_the_first_step(place, tmp_path, validation):
    for number in range(3):
        images.write(tmp_path / "own" / "ir" / f"{number}.png", np.zeros((20, 20), np.uint8))
        images.write(tmp_path / "own" / "vi" / f"{number}.png", np.full((20, 20), 9, np.uint8) * number)
    images.write(tmp_path / "own" / "ir" / "alone.png", np.zeros((20, 20), np.uint8))
    validation["datasets"].append({"name": "own", "root": "own"})
    data = {"name": "folder", "options": {"root": "own", "size": 16}, "batch_size": 2}
    place.change(data=data, validation=validation)
    place.trains()
    said = place.out.splitlines()
    assert "own/ir/alone.png has no visible partner" in said
    assert any(line.startswith("problem: black: 0: ") for line in said)
    assert any(line.startswith("validation: own: problem: black: 0: ") for line in said)
    assert not any(line.startswith("validation: s: ") for line in said)


def test_files_of_a_run(place, validation):
    place.change(validation=validation)
    place.trains()
    run = place.folder / "runs/tiny"
    assert {p.name for p in run.iterdir()} == {
        "checkpoints", "config.yml", "log.jsonl", "pictures", "run.json", "tensorboard",
    }  # fmt: skip
    assert {p.name for p in (run / "checkpoints").iterdir()} == {
        "step_00000012.pt", "step_00000015.pt", "step_00000016.pt", "best.pt",
    }  # fmt: skip
    assert [p.name for p in sorted((run / "pictures").iterdir())] == [
        "step_00000008_pair_0.png", "step_00000016_pair_0.png",
    ]  # fmt: skip
    facts = json.loads((run / "run.json").read_text())
    assert facts["seed"] == 0
    assert facts["commit"] == record.commit()
    assert facts["versions"]["torch"] == torch.__version__

    records = [r for r in place.steps() if "loss" in r]
    assert [r["step"] for r in records] == [*range(1, 17)]
    assert [r["phase"] for r in records] == ["reconstruction"] * 8 + ["fusion"] * 8
    for group in ("loss", "gradient_norm", "rate"):
        assert all(math.isfinite(value) for r in records for value in r[group].values())
    assert records[-1]["rate"] == {
        "encoder": 1e-4 / 8, "decoder": 1e-4 / 8, "base_fusion": 1e-4 / 2, "detail_fusion": 1e-4 / 2,
    }  # fmt: skip

    card = json.loads((place.folder / "models/tiny.json").read_text())
    assert card["steps"] == 16
    assert card["validation"] == [r for r in place.steps() if "validation" in r][-1]["validation"]
    assert card["data"]["sha256"] == PatchData(path="patches.h5").data_hash
    assert card["data"]["pairs"] == 14
    assert card["config"] == yaml.safe_load((run / "config.yml").read_text())
    assert {"commit", "versions", "seed", "network", "command"} <= card.keys()
    network = fusion.load("cddfuse", "models/tiny.safetensors")  # with its options, which the file states
    state = checkpoint.load(run / "checkpoints/step_00000016.pt")
    assert equal(network.state_dict(), state["network"])
    stopped = fusion.load(weights=run / "checkpoints/step_00000016.pt")  # and so does a checkpoint
    assert equal(network.state_dict(), stopped.state_dict())


def test_the_resolved_config_repeats_the_run_bit_for_bit(place):
    place.trains("rate.lr=0.0003", "seed=7", "ema=0.9")
    assert place.run("name=again", opt="runs/tiny/config.yml") == 0
    assert equal(place.weights("tiny"), place.weights("again"))
    place.trains("name=other", "seed=8")
    assert not equal(place.weights("tiny"), place.weights("other"))


def test_the_best_is_delivered_on_request(place, validation):
    # MSE of a fusion grows as the network learns to fuse, so that the earlier weights win
    place.change(validation={**validation, "best": "MSE"})
    place.trains("deliver=best", "rate.lr=0.01")
    validations = {r["step"]: r["validation"]["MSE"] for r in place.steps() if "validation" in r}
    best = min(validations, key=validations.get)
    card = json.loads((place.folder / "models/tiny.json").read_text())
    assert card["steps"] == best
    assert card["validation"]["MSE"] == validations[best]
    kept = checkpoint.load(place.folder / "runs/tiny/checkpoints/best.pt")
    assert equal(place.weights(), kept["network"])


def test_a_run_starts_from_given_weights(place):
    torch.manual_seed(5)
    network = CDDFuse(**tiny.NETWORK)
    weights.save("start.safetensors", network, name="cddfuse", options=tiny.NETWORK)
    place.trains("weights=start.safetensors", "rate.lr=1e-12", "name=a")
    assert all(torch.allclose(v, network.state_dict()[k], atol=1e-9) for k, v in place.weights("a").items())


def test_parts_and_clip_are_the_configs(place):
    config = tiny.config()
    config["phases"][1]["trains"] = ["base_fusion"]
    config["phases"][0]["clip"] = {"norm": 1e-30}  # so small that Adam's eps outweighs it: nothing moves
    place.change(phases=config["phases"])
    place.trains()
    torch.manual_seed(0)
    untrained = CDDFuse(**tiny.NETWORK).state_dict()
    moved = {k.split(".")[0] for k, v in place.weights().items() if not torch.allclose(v, untrained[k], atol=1e-12)}
    assert moved == {"base_fusion"}
    assert place.steps()[-1]["rate"].keys() == {"base_fusion"}


# --- stopping and continuing ----------------------------------------------------------------------------------------


def signal_at(monkeypatch, step, number):
    """Send a signal to this process after `step`."""
    before = Watch.scalars

    def scalars(self, now, *arguments):
        before(self, now, *arguments)
        if now == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Watch, "scalars", scalars)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves(place, monkeypatch, number, status):
    handler = signal.getsignal(number)
    signal_at(monkeypatch, 4, number)
    assert place.run() == status
    assert place.out.splitlines() == ["stopped after step 5, which is saved: the same command with --resume continues"]
    assert not (place.folder / "models").exists()
    assert (place.folder / "runs/tiny/checkpoints/step_00000005.pt").exists()
    assert signal.getsignal(number) is handler


def test_a_second_interrupt_stops_at_once(place, monkeypatch):
    def impatient(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "clip", impatient)
    assert place.run() == 130
    assert "--resume continues from the beginning" in place.err


COSINE = "rate={name: CosineLRScheduler, lr: 0.001, warmup: 3}"
OPTIONS = {
    "plain": [],
    "averages": ["ema=0.9", "accumulation=2"],
    "bf16": ["precision=bf16", "checkpointing=true"],
    "cosine": [COSINE, "optimizer={name: adamw, options: {weight_decay: 0.01}}"],
}


@pytest.mark.parametrize("options", OPTIONS)
def test_resuming_is_exact(place, monkeypatch, options):
    place.trains("name=whole", *OPTIONS[options])
    with monkeypatch.context() as patch:
        signal_at(patch, 6, signal.SIGTERM)
        assert place.run(*OPTIONS[options]) == 143
    place.trains("--resume", *OPTIONS[options])
    assert place.out.startswith("continuing runs/tiny/checkpoints/step_00000007.pt at step 7 of 16\n")
    assert equal(place.weights("tiny"), place.weights("whole"))
    ours, theirs = ([{k: v for k, v in r.items() if k != "speed"} for r in place.steps(n)] for n in ("tiny", "whole"))
    assert ours == theirs


def test_a_finished_run_can_be_delivered_again(place):
    place.trains()
    before = place.weights()
    (place.folder / "models/tiny.safetensors").unlink()
    place.trains("--resume")
    assert equal(place.weights(), before)


def test_resume_without_a_run_begins_one(place):
    place.trains("--resume")
    assert place.out.startswith("runs/tiny holds no checkpoint yet: starting from the beginning\n")


def test_a_run_is_not_overwritten(place):
    place.trains()
    line = place.refuses()
    assert line == "runs/tiny holds a run at step 16: --resume continues it, name=OTHER starts another"


def test_another_config_is_refused_and_the_differences_listed(place):
    place.trains()
    line = place.refuses(
        "--resume", "rate.lr=0.5", "data.batch_size=2", "phases.1.objective.weights.gradient=9", "keep=9"
    )
    assert "step_00000016.pt was made with another config: data.batch_size: 4 then, 2 now; " in line
    assert "phases.1.objective.weights.gradient: 10.0 then, 9.0 now; rate.lr: 0.0001 then, 0.5 now. Use name=" in line
    assert "keep" not in line
    tiny.write_patches(place.folder / "patches.h5", n=15)
    assert "data_sha256: '" in place.refuses("--resume")


def test_a_longer_training_of_a_finished_run_is_a_run_of_its_own(place):
    place.trains()
    line = place.refuses("--resume", "phases.1.length=50")
    assert "phases.1.length: " in line
    assert "is at step 16" in line
    assert line.endswith("name=OTHER weights=models/tiny.safetensors continues from what it learned")
    place.trains("name=longer", "weights=models/tiny.safetensors")


def test_a_damaged_checkpoint_is_passed_over(place, monkeypatch):
    place.trains("name=whole")
    place.trains()
    newest = place.folder / "runs/tiny/checkpoints/step_00000016.pt"
    newest.write_bytes(newest.read_bytes()[:-5000])
    place.trains("--resume")
    assert place.out.splitlines()[0].startswith("runs/tiny/checkpoints/step_00000016.pt cannot be read: ")
    assert "step_00000015.pt at step 15" in place.out.splitlines()[1]
    assert equal(place.weights("tiny"), place.weights("whole"))
    for path in newest.parent.iterdir():
        path.write_bytes(b"")
    assert "no checkpoint of runs/tiny/checkpoints can be read: remove runs/tiny" in place.refuses("--resume")


# --- trouble on the way ---------------------------------------------------------------------------------------------


def test_divergence_names_the_last_good_checkpoint(place):
    line = place.refuses("rate.lr=1e30", "patience=3")
    assert "3 steps in a row were not finite, the last at step " in line
    assert "the last good checkpoint: runs/tiny/checkpoints/step_000000" in line
    assert place.out.count("skipped: ") == 3
    assert "samples: patches.h5[" in place.out


def test_a_full_disk(place, monkeypatch):
    before = os.fsync

    def fsync(descriptor):
        full = (place.folder / "runs/tiny/checkpoints/step_00000006.pt").exists()
        if full and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(28, "No space left on device")
        before(descriptor)

    place.trains("name=whole")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        line = place.refuses()
    assert line == (
        "cannot write runs/tiny/checkpoints/step_00000009.pt: No space left on device; the last good checkpoint: "
        "runs/tiny/checkpoints/step_00000006.pt"
    )
    place.trains("--resume")
    assert equal(place.weights("tiny"), place.weights("whole"))


def test_no_folder_to_write_to(place):
    (place.folder / "runs").write_text("in the way")
    assert "cannot write runs/tiny/config.yml: " in place.refuses()


def test_no_memory(place, monkeypatch):
    def greedy(self, *arguments):
        torch.empty(2**60)

    monkeypatch.setattr(Trainer, "one_step", greedy)
    line = place.refuses("data.options.size=12")
    assert line == (
        "not enough memory for a batch of 4 patches of 12x12: lower data.batch_size (and raise accumulation to make "
        "up for it), set checkpointing=true, or precision=bf16"
    )


def test_no_memory_to_validate_costs_no_steps(place, monkeypatch, validation):
    """Whole pictures need more than batches; what was learned before them is saved, and the run can go on."""

    def greedy(*arguments, **options):
        torch.empty(2**60)

    place.change(validation={**validation, "every": 5}, save_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(infer, "fuse", greedy)
        assert place.refuses() == (
            "not enough memory to validate at step 5, which is saved: validate on smaller pictures, or "
            "validation=null; --resume continues"
        )
    place.trains("--resume", "validation=null")
    assert [record["step"] for record in place.steps()][-1] == 16
    assert "at step 5 of 16" in place.out


def test_processes_without_a_gpu_each_are_refused(place, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    assert place.refuses("device=auto").endswith("2 processes but 1 GPUs here: use --nproc-per-node 1, or device=cpu")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # one on each of two machines
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert build_training._own_device("auto") == "cuda:0"
    assert build_training._own_device("cpu") == "cpu"


def test_a_process_touches_no_gpu_but_its_own(place, monkeypatch):
    """A context of half a GiB on the first GPU for every process, else; and accelerate would sit there."""
    touched = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(build, "_unusable", lambda device: touched.append(str(device)))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: touched.append(f"set {device}"))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(build_training, "computes_in_bf16", lambda device: True)
    monkeypatch.setattr(build_training, "round_products_in_training", lambda: None)
    monkeypatch.setattr(build_training, "_choose_deterministic_kernels", lambda wanted: None)
    monkeypatch.setattr(build_training, "Accelerator", lambda **options: touched.append("accelerate"))
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    for device in ("cuda", "auto"):
        touched.clear()
        build_training._accelerator(place.program.read_options("tiny.yml", [f"device={device}"]))
        assert touched == ["cuda:1", "set cuda:1", "accelerate"]


def test_a_run_keeps_its_precision(place):
    """`auto` is another one on another device; a checkpoint that does not say goes on."""
    place.trains("precision=auto")
    path = place.folder / "runs/tiny/checkpoints/step_00000016.pt"
    state = checkpoint.load(path)
    assert state["config"]["computed_in"] in ("no", "bf16")
    differences, before = place.program.differences, state["config"]
    assert differences(before, {**before, "computed_in": "fp16"}) != []
    assert differences({k: v for k, v in before.items() if k != "computed_in"}, before) == []


def test_deterministic_kernels_are_chosen_and_given_back(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        build_training._choose_deterministic_kernels(True)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    finally:
        build_training._choose_deterministic_kernels(False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


def test_nothing_is_compiled_for_a_cpu():
    assert not build_training._compiles(torch.device("cpu"))


def test_a_mistake_of_ours_keeps_its_traceback(place, monkeypatch):
    def mistaken(self, *arguments):
        raise RuntimeError("unsupported memory format")

    monkeypatch.setattr(Trainer, "one_step", mistaken)
    with pytest.raises(RuntimeError, match="memory format"):
        place.run()


def test_pixels_that_are_no_numbers(place):
    pixels = tiny.pixels(14)
    pixels[9, 0, 2, 2] = np.nan
    tiny.write_patches(place.folder / "patches.h5", ir=pixels)
    line = place.refuses()
    assert "patches.h5: patch 9 of ir (patches.h5[9]) holds NaN; expected [0, 1]" in line


# --- refusals before the first step ---------------------------------------------------------------------------------


def wrong_layout(path):
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((3, 4))


def truncated(path):
    path.write_bytes(path.read_bytes()[:-3000])


def unequal(path):
    tiny.write_patches(path, vis=tiny.pixels(13))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wrong_layout, "is no patch file: expected data sets 'ir' and 'vis'"),
        (truncated, "is truncated or no h5 file"),
        (unequal, "holds 14 infrared but 13 visible patches"),
        (lambda path: path.unlink(), "does not exist: make it with scripts/make_patches.py ROOT -o patches.h5"),
    ],
)
def test_bad_patch_files(place, damage, message):
    damage(place.folder / "patches.h5")
    assert message in place.refuses()
    assert not (place.folder / "runs").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.options.size=32"], "patches of 16x16, smaller than the crop of 32x32"),
        (["data.name=patch"], "No dataset named 'patch'. Known: folder, patches. Did you mean 'patches'?"),
        (["data.options.sise=8"], "takes no option 'sise'. It takes: path, size, augment. Did you mean 'size'?"),
        (["network.name=cdfuse"], "No network named 'cdfuse'."),
        (["network.options.heads=3"], "dim must be even and a multiple of heads, got dim=8, heads=3"),
        (["phases.0.objective.name=cddfuse_fuse"], "Did you mean 'cddfuse_fusion'?"),
        (["phases.1.objective.name=ship"], "phases[1].objective: ship needs 'mask', which the data lack: use the data"),
        (["phases.1.objective.weights.gradiant=3"], "phases[1].objective: CDDFuseFusion has no term 'gradiant'"),
        (["phases.1.trains=[base_fuse]"], "phases[1].trains: no part 'base_fuse'; the network has: encoder, decoder,"),
        (["phases.1.clip.nrom=1"], "phases[1].clip: unknown key 'nrom'. Did you mean 'norm'?"),
        (["optimizer.name=adamm"], "optimizer: no optimizer named 'adamm'. Known to timm: "),
        (["optimizer={name: adam, options: {moment: 3}}"], "optimizer: adam with {'moment': 3}: "),
        (["rate.name=StepLr"], "rate: No rate named 'StepLr'. Known: "),
        (["rate.options.gama=3"], "Did you mean 'gamma'?"),
        (["precision=fp16"], "precision: fp16 needs a GPU; use bf16 or fp32 on a CPU"),
        (["device=cuda:7"], "device: 'cuda:7' cannot be used here"),
        (["weights=nowhere.safetensors"], "nowhere.safetensors is not there"),
        (["validation={datasets: [{name: X, root: nowhere}]}"], "validation: data set X: nowhere/ir is not a folder"),
        (["name=a/b"], "name: "),
    ],
)
def test_refusals(place, overrides, message):
    line = place.refuses(*overrides)
    assert message in line
    assert line.startswith("tiny.yml: ")
    assert not (place.folder / "runs").exists()


def test_a_batch_that_processes_cannot_share(place, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert "data.batch_size: 4 does not divide among 3 processes: use a multiple" in place.refuses()


def test_ship_without_masks_is_refused_before_the_first_step(place, root):
    line = place.refuses("data.options.mask=false", f"data.options.root={root}/test_img/sample", "validation=null",
                         opt=str(root / "configs/ship_msrs.yml"))  # fmt: skip
    assert (
        "phases[0].objective: ship needs 'mask', which the data lack: use the data set 'folder' with `mask: true`"
        in line
    )


def test_the_published_configs_are_complete(place, root):
    """All is found but the data, which is not part of the project."""
    line = place.refuses(opt=str(root / "configs/cddfuse_msrs.yml"))
    assert line.endswith(
        "data/msrs_train.h5 does not exist: make it with scripts/make_patches.py ROOT -o data/msrs_train.h5"
    )
    line = place.refuses(opt=str(root / "configs/ship_msrs.yml"))
    assert "data/MSRS/train/ir is not a folder" in line


@pytest.mark.parametrize("config", ["cpfusion.yml", "compare.yml"])
def test_a_comparison_is_sent_to_test_py(place, root, config):
    path = str(root / "configs" / config)
    assert place.run(opt=path) == 0
    assert place.out == f"{path} compares methods, nothing in it trains: python test.py -opt {path}\n"


def test_a_rule_based_network_is_sent_to_test_py(place):
    for overrides in (["network={name: cpfusion}"], ["network={name: cddfuse}", "phases=[]"]):
        assert place.run(*overrides) == 0
        assert "has no training phases; python test.py fuses and compares with it" in place.out
        assert len(place.out.splitlines()) == 1
    (place.folder / "short.yml").write_text("network: {name: cpfusion}\n")
    assert place.run(opt="short.yml") == 0
    assert place.out.startswith("cpfusion has no training phases")
    assert not (place.folder / "runs").exists()


def test_the_smoke_config_trains(place, root, monkeypatch):
    """Six of its steps, where the sample pairs are."""
    (place.folder / "test_img").symlink_to(root / "test_img")
    few = ["phases.0.length=3", "phases.1.length=3", "validation.limit=1", "data.options.size=32"]
    assert place.run(*few, opt=str(root / "configs/smoke.yml")) == 0
    assert len(list((place.folder / "runs/smoke/pictures").iterdir())) == 1
    assert (place.folder / "models/smoke.safetensors").exists()
