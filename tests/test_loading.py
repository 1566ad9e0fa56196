"""A network of blinkcore is built around the weights of a file, whose code is not run."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from blinkcore.network.loading import PARTS, TRUST
from blinkcore.network.model import load_model, load_weights, read_metadata, save_model
from blinkcore.network.networks import NETWORKS, Blink, DeepBlink

IMAGES = np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype(np.float32)


@pytest.fixture(
    params=[Blink(4, 1, 1), DeepBlink((4, 4, 4))], ids=["blink", "deepblink"]
)
def saved(request, tmp_path, describe):
    """A file of a network that nobody has trained, and its grids."""
    path = tmp_path / "own.pt"
    save_model(request.param, describe(request.param), path)
    return path, load_model(path, device="cpu", amp=False)(IMAGES)


def rewritten(path, edit):
    """Write the file again with each member as `edit` has it."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    changed = path.with_name("changed.pt")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, edit(name, content))
    return changed


def with_metadata(path, **others):
    def edit(name, content):
        if not name.endswith("blinkcore.json"):
            return content
        return json.dumps(json.loads(content) | others).encode()

    return rewritten(path, edit)


def test_the_grids_are_those_of_the_network_in_memory(tmp_path, describe):
    network = Blink(4, 1, 2).eval()
    save_model(network, describe(network), tmp_path / "m.pt")
    with torch.inference_mode():
        raw = network(torch.from_numpy(IMAGES))
        expected = network.activate(raw).numpy()
    found = load_model(tmp_path / "m.pt", device="cpu", amp=False)(IMAGES)
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-5)


def test_the_parts_of_networks_are_those_that_are_looked_for():
    made = {
        "blink": [Blink(), Blink(4, 1, 1)],
        "deepblink": [DeepBlink(), DeepBlink((4, 6))],
    }
    assert made.keys() == NETWORKS.keys() == PARTS.keys()
    for name, networks in made.items():
        names = {n.partition(".")[0] for one in networks for n in one.state_dict()}
        assert names == PARTS[name]


@pytest.mark.parametrize(
    "code",
    [
        "class Nothing:\n  pass\n",
        "this is no code at all",
        'def f(x: Tensor) -> Tensor:\n  torch.save(x, "harm")\n  return x\n',
    ],
)
def test_code_of_the_file_is_neither_run_nor_read(saved, code, tmp_path, monkeypatch):
    path, expected = saved
    monkeypatch.chdir(tmp_path)
    changed = rewritten(path, lambda n, c: code.encode() if n.endswith(".py") else c)
    found = load_model(changed, device="cpu", amp=False)(IMAGES)
    assert np.array_equal(found, expected)
    assert load_weights(changed).keys() == load_weights(path).keys()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["changed.pt", "own.pt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"filters": 8, "depth": 1, "levels": 1},
            "its weights are not those of a blink",
        ),
        (
            {"filters": 4, "depth": 2, "levels": 1},
            "its weights are not those of a blink",
        ),
        (
            {"filters": 4, "depth": 10**9, "levels": 1},
            "depth of a network must be 0 to 64",
        ),
        ({"filters": 10**30, "depth": 1, "levels": 1}, "filters of a network must be"),
        (
            {"filters": 4, "depth": 1, "levels": -7},
            "levels of a network must be 1 to 10",
        ),
        ({"filters": 4, "depth": True, "levels": 1}, "depth of a network must be"),
        ({"filters": 4.0, "depth": 1, "levels": 1}, "filters of a network must be"),
        (
            {"filters": "many", "depth": None, "levels": []},
            "filters of a network must be",
        ),
        ({"unknown": 1}, "which is not one of blinkcore's"),
    ],
)
def test_weights_of_another_network_are_not_put_into_one(
    arguments, words, tmp_path, describe
):
    network = Blink(4, 1, 1)
    save_model(network, describe(network), tmp_path / "m.pt")
    changed = with_metadata(tmp_path / "m.pt", arguments=arguments)
    for read in (load_model, read_metadata):
        with pytest.raises(ValueError, match=words) as caught:
            read(changed)
        assert TRUST not in str(caught.value)  # a damaged file is not to be trusted


def test_another_name_is_another_network(tmp_path, describe):
    network = Blink(4, 1, 1)
    save_model(network, describe(network), tmp_path / "m.pt")
    for name in ("unet", ""):
        changed = with_metadata(tmp_path / "m.pt", architecture=name)
        with pytest.raises(ValueError, match="not one of blinkcore's own"):
            load_model(changed)
    for name in ("deepblink", 7, ["blink"]):
        changed = with_metadata(tmp_path / "m.pt", architecture=name)
        with pytest.raises(ValueError, match="cannot be used as a model"):
            load_model(changed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cell_size", 4),
        ("stride", 1024),
        ("stride", True),
        ("receptive_field", 999_999),
        ("receptive_field", None),
        ("cell_map", "x" * 1_000_000),
        ("calibration", [1e308, 1e308, 1e308]),
    ],
)
def test_what_a_record_says_of_its_network_is_true(name, value, tmp_path, describe):
    """Or a file of some kilobytes would take minutes and gigabytes."""
    network = Blink(4, 1, 1)
    save_model(network, describe(network), tmp_path / "m.pt")
    changed = with_metadata(tmp_path / "m.pt", **{name: value})
    with pytest.raises(ValueError, match=name) as caught:
        load_model(changed)
    assert len(str(caught.value)) < 1000


def test_weights_that_are_no_numbers_are_refused(tmp_path, describe):
    network = Blink(4, 1, 1)
    with torch.no_grad():
        for value in network.parameters():
            value.fill_(torch.nan)
    save_model(network, describe(network), tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        load_model(tmp_path / "m.pt")


class Bad(torch.nn.Module):
    """A network of allowed operators that gives no grid."""

    def __init__(self, kind):
        super().__init__()
        self.network = torch.nn.Conv2d(1, 1, 1)
        self.kind: int = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = torch.nn.functional.avg_pool2d(self.network(x), 2)
        grid = torch.sigmoid(torch.cat([half, half, half], dim=1))
        if self.kind == 0:
            return grid[:, :2]
        if self.kind == 1:
            return grid * 10.0 + 1.0
        if self.kind == 2:
            return grid / (grid - grid)
        if self.kind == 3:
            return torch.nn.functional.interpolate(grid, scale_factor=[3000.0, 3000.0])
        return grid


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (0, "in the place of a grid"),
        (1, r"outside \[0, 1\]"),
        (2, r"outside \[0, 1\]"),
        (3, "too much memory"),
    ],
)
def test_a_network_is_tried_before_it_is_used(
    tmp_path, describe, kind, words, monkeypatch
):
    monkeypatch.setenv(TRUST, "1")
    metadata = replace(describe(Blink(4, 1, 1)), architecture="unet").to_json()
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.script(Bad(kind)), path, {"blinkcore.json": metadata})
    with pytest.raises(ValueError, match=words):
        load_model(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_sound_network_of_others_is_taken_if_it_is_trusted(
    tmp_path, describe, monkeypatch
):
    metadata = replace(describe(Blink(4, 1, 1)), architecture="unet").to_json()
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.script(Bad(4)), path, {"blinkcore.json": metadata})
    monkeypatch.delenv(TRUST, raising=False)
    for read in (load_model, read_metadata, load_weights):
        with pytest.raises(ValueError, match=f"not one of .* variable {TRUST}=1"):
            read(path)
    monkeypatch.setenv(TRUST, "1")
    assert load_model(path).metadata.stride
