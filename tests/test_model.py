import json
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from blinkcore.network.device import half_precision
from blinkcore.network.model import (
    Metadata,
    bundled_models,
    load_model,
    read_metadata,
    save_model,
)
from blinkcore.network.networks import Blink, DeepBlink
from blinkcore.network.normalize import normalized, plane_scaling
from blinkcore.simulation.scenes import simulate


@pytest.fixture(params=[(Blink, 8), (DeepBlink, (4, 6, 8))], ids=["blink", "deepblink"])
def network(request):
    # What rounding does to untrained weights differs from draw to draw.
    torch.manual_seed(1)
    kind, filters = request.param
    return kind(filters).eval()


def test_a_saved_model_computes_the_same(tmp_path, network, describe):
    path = tmp_path / "m.pt"
    save_model(network, describe(network), path)
    model = load_model(path, amp=False)
    x = np.random.default_rng(0).normal(0, 5, (2, 1, 32, 48)).astype(np.float32)
    with torch.inference_mode():
        expected = network.activate(network(torch.from_numpy(x))).numpy()
    # Folding batch norm and other kernels change the last bits of float32.
    np.testing.assert_allclose(model(x)[:, :3], expected, atol=2e-5)
    assert model(x).shape[1] == (4 if network.predicts_error else 3)
    assert model.name == "m"
    assert model.metadata == replace(describe(network), spot_sigma=[0.8, 2.5])


# Functions that PyTorch 2.3, the oldest supported, has; `interpolate` of a newer one brings
# operators into a file that an older one does not know, and cannot read for that.
OLD_FUNCTIONS = {
    "abs",
    "add",
    "add_",
    "append",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "clamp",
    "conv2d",
    "dim",
    "dropout",
    "eq",
    "exp",
    "feature_dropout",
    "feature_dropout_",
    "format",
    "gt",
    "le",
    "leaky_relu",
    "leaky_relu_",
    "len",
    "linear",
    "lt",
    "max_pool2d",
    "mean",
    "mul",
    "ne",
    "nn",
    "pixel_unshuffle",
    "pop",
    "relu",
    "relu_",
    "rsqrt",
    "select",
    "sigmoid",
    "size",
    "slice",
    "softmax",
    "sub",
    "to",
    "unsqueeze",
    "upsample_nearest2d",
    "warn",
    "__contains__",
    "__is__",
    "__not__",
}


def functions_of(path):
    archive = zipfile.ZipFile(path)
    code = [archive.read(n).decode() for n in archive.namelist() if n.endswith(".py")]
    assert code
    return {name for text in code for name in re.findall(r"torch\.(\w+)", text)}


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_a_bundled_model_is_read_by_the_oldest_pytorch_supported(name):
    assert functions_of(bundled_models()[name]) <= OLD_FUNCTIONS


def test_a_saved_model_is_read_by_the_oldest_pytorch_supported(
    tmp_path, network, describe
):
    save_model(network, describe(network), tmp_path / "m.pt")
    assert functions_of(tmp_path / "m.pt") <= OLD_FUNCTIONS


def test_half_precision_changes_little(tmp_path, network, describe):
    path = tmp_path / "m.pt"
    save_model(network, describe(network), path)
    half, single = (load_model(path, amp=amp) for amp in (True, False))
    assert single.precision == "float32"
    fast = half_precision("cpu") is not None and network.predicts_error
    assert half.precision == ("bfloat16" if fast else "float32")
    x = np.random.default_rng(0).normal(0, 5, (2, 1, 32, 48)).astype(np.float32)
    x[:, :, 10:20] += 1000  # a bright ground must not drown what stands on it
    difference = np.abs(half(x) - single(x))
    assert difference.max() < 0.02
    assert (difference.max() > 0) == fast


@pytest.mark.skipif(half_precision("cpu") is None, reason="CPU without bfloat16")
def test_half_precision_of_a_trained_model_sees_what_stands_on_a_bright_ground():
    half, single = (load_model("general", device="cpu", amp=a) for a in (True, False))
    scene = simulate((256, 256), np.random.default_rng(1))
    pixels = normalized(scene.image, plane_scaling(scene.image, "noise"))
    pixels[100:] += 1000
    difference = half(pixels[None, None]) - single(pixels[None, None])
    # 0.17 with all layers in half precision.
    assert np.abs(difference[0, 0]).max() < 0.08


def test_a_model_file_needs_no_blinkcore(tmp_path, network, describe):
    path = tmp_path / "m.pt"
    save_model(network, describe(network), path)
    code = (
        "import sys, json, warnings; warnings.simplefilter('ignore'); import torch;"
        "extra = {'blinkcore.json': ''};"
        "m = torch.jit.load(sys.argv[1], _extra_files=extra).eval();"
        "print(tuple(m(torch.zeros(2, 1, 16, 32)).shape),"
        "json.loads(extra['blinkcore.json'])['cell_size'], 'blinkcore' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    cell = network.cell_size
    assert done.stdout.strip() == f"(2, 3, {16 // cell}, {32 // cell}) {cell} False"


def test_bundled_models_describe_themselves():
    assert {"general", "precise"} <= set(bundled_models())
    for name in bundled_models():
        metadata = read_metadata(name)
        assert metadata.provenance["command"].startswith("blinkcore train")
        assert metadata.provenance["recipe"]["seed"] is not None
        assert metadata.scores["f1_integral"] > 0


def test_missing_models_are_named_with_those_that_exist():
    with pytest.raises(FileNotFoundError, match=r"no model 'genral'.*general"):
        load_model("genral")


def test_a_text_file_is_no_model(tmp_path):
    path = tmp_path / "m.pt"
    path.write_text("hello")
    with pytest.raises(ValueError, match="not a TorchScript file"):
        load_model(path)


def test_a_damaged_model_is_named(tmp_path, network, describe):
    path = tmp_path / "m.pt"
    save_model(network, describe(network), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="damaged"):
        load_model(path)


def torchscript(path, extra=None):
    script = torch.jit.script(torch.nn.Conv2d(1, 3, 1))
    torch.jit.save(script, str(path), _extra_files=extra or {})


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_foreign_torchscript_is_refused(tmp_path):
    torchscript(tmp_path / "m.pt")
    with pytest.raises(
        ValueError, match=r"not a model of blinkcore: it has no blinkcore.js"
    ):
        load_model(tmp_path / "m.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("cell_size"), "lacks cell_size"),
        (lambda m: m.pop("format_version"), "no format_version"),
        (lambda m: m.update(format_version=99), "please upgrade"),
        (lambda m: m.update(stride=3), "multiple of cell_size"),
        (lambda m: m.update(count_spread="much"), "count_spread must be at least 0"),
        (lambda m: m.update(merge_distance=None), "merge_distance must be at least 0"),
        (
            lambda m: m.update(receptive_field=10**400),
            "receptive_field must be at least",
        ),
        (lambda m: m.update(spot_sigma=["a", None]), "spot_sigma must be two widths"),
        (lambda m: m.update(scores=5), "scores must be names with values"),
        (lambda m: m.update(calibration="1234"), "calibration must be an off"),
        (lambda m: m.update(calibration=[10**400, 1]), "calibration must be an offset"),
        (lambda m: m.update(stride=0), "stride must be a positive integer"),
        (lambda m: m.update(threshold=7), "threshold must be in"),
        (lambda m: m.update(normalization="magic"), "normalization is unknown"),
        (lambda m: m.update(cell_map="corner"), "cell_map is unknown"),
    ],
)
def test_metadata_must_be_complete_and_in_range(tmp_path, change, words, describe):
    values = json.loads(json.dumps(asdict(describe(Blink(8)))))
    change(values)
    torchscript(tmp_path / "m.pt", {"blinkcore.json": json.dumps(values)})
    with pytest.raises(ValueError, match=words):
        load_model(tmp_path / "m.pt")


def test_a_blink_model_that_names_no_levels_has_one(describe):
    values = asdict(describe(Blink(8, 3, 1)))
    del values["arguments"]["levels"]
    assert Metadata.from_json(json.dumps(values)).arguments["levels"] == 1


def test_metadata_is_readable_without_torch(tmp_path, describe):
    path = tmp_path / "m.pt"
    save_model(Blink(8), describe(Blink(8)), path)
    with zipfile.ZipFile(path) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("blinkcore.json")]
        assert json.loads(archive.read(name))["architecture"] == "blink"


@pytest.mark.parametrize("device", ["tpu", "cuda", "mps"])
def test_devices_that_are_not_there_are_named(device):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is an MPS device")
    with pytest.raises(ValueError, match=device):
        load_model("general", device=device)


def test_bundled_models_are_those_of_the_list(monkeypatch):
    from blinkcore.files import sha256_of
    from blinkcore.network import loading as module

    digests = module._bundled_digests()
    assert digests == {p.name: sha256_of(p) for p in bundled_models().values()}
    monkeypatch.setattr(module, "_bundled_digests", lambda: dict.fromkeys(digests, "0"))
    with pytest.raises(ValueError, match="is damaged or was changed"):
        load_model("general")
