"""Where limits of a model's file, description, grid and candidates lie; known answers."""

import io
import json
import math
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from blinkcore import limits
from blinkcore.model_files.archive import checked
from blinkcore.model_files.probe import probe, probe_grids
from blinkcore.network import calibration, registry
from blinkcore.network.calibration import Calibration, calibrated, fit_calibration
from blinkcore.network.metadata import Metadata
from blinkcore.network.population import (
    bins_of,
    dim_class,
    mean_of_similar_height,
    otsu_threshold,
)


def refused(sentence):
    return pytest.raises(ValueError, match=f"^{sentence}$")


CODE = b"""class N(Module):
  w : Tensor
  def forward(self: __torch__.a.N, x: Tensor) -> Tensor:
    return torch.conv2d(x)
"""


def tensors(shape, strides=None, *, offset=0, n=4, kind="Float", extra=0, **others):
    """Pack a model of one tensor, whose storage has n numbers, and other files."""

    class Storing(pickle.Pickler):
        def persistent_id(self, value):
            return (
                value[1:]
                if isinstance(value, tuple) and value[:1] == ("here",)
                else None
            )

    class One:
        def __reduce__(self):
            named = (getattr(torch, f"{kind}Storage"), "0", "cpu", n)
            steps = (1,) * len(shape) if strides is None else strides
            values = (
                ("here", "storage", *named),
                offset,
                shape,
                steps,
                False,
                OrderedDict(),
            )
            return torch._utils._rebuild_tensor_v2, values

    data, content = io.BytesIO(), io.BytesIO()
    Storing(data, 2).dump(One())
    size = {
        "Double": 8,
        "Long": 8,
        "Float": 4,
        "Int": 4,
        "Char": 1,
        "Byte": 1,
        "Bool": 1,
    }
    inside = data.getvalue()[2:-1]  # without the version, and the end
    network = b"\x80\x02c__torch__.a\nN\n)\x81}X\x01\0\0\0w" + inside + b"sb."
    members = {
        "data.pkl": network, "constants.pkl": b")." , "version": b"3",
        "code/__torch__/a.py": CODE, "data/0": bytes(n * size.get(kind, 2) + extra),
    } | others  # fmt: skip
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(f"m/{name}", value)
    return content.getvalue()


def test_a_tensor_lies_within_its_numbers():
    kinds = "Double Float Half BFloat16 Long Int Short Char Byte Bool"
    for kind in kinds.split():
        checked(tensors((4,), kind=kind), "b.json")
        with refused("a tensor has .* bytes in the place of .*"):
            checked(tensors((4,), kind=kind, extra=1), "b.json")
    for shape, strides, offset in (
        ((4,), (1,), 0), ((2, 2), (2, 1), 0), ((2,), (2,), 1), ((2**30,), (0,), 3), ((0, 9), (9, 9), 9),
    ):  # fmt: skip
        checked(tensors(shape, strides, offset=offset), "b.json")
    for shape, strides, offset in (
        ((5,), (1,), 0),
        ((2, 2), (3, 1), 0),
        ((2,), (2,), 2),
    ):
        with refused("a tensor reaches beyond its numbers"):
            checked(tensors(shape, strides, offset=offset), "b.json")
    for shape, strides in (
        ((-1,), (1,)),
        ((1,), (-1,)),
        ((1, 1), (1,)),
        ((2**30 + 1,), (0,)),
    ):
        with refused("a tensor has no valid shape"):
            checked(tensors(shape, strides), "b.json")
    with refused(r"it constructs torch\.ComplexFloatStorage, which no network needs"):
        checked(tensors((4,), kind="ComplexFloat"), "b.json")


def test_only_what_is_needed_is_kept():
    more = {"extra/b.json": b"{}", "extra/c": b"", "code/__torch__/a.py.debug_pkl": b"", "e/f": b"",
            "data/1": b"", "constants/0": b"", "byteorder": b"little"}  # fmt: skip
    script, about = checked(tensors((4,), **more), "b.json")
    kept = zipfile.ZipFile(io.BytesIO(script)).namelist()
    names = "data.pkl constants.pkl version code/__torch__/a.py data/0 data/1 constants/0 byteorder"
    assert sorted(kept) == sorted(f"archive/{name}" for name in names.split())
    assert about == b"{}"
    assert checked(tensors((4,)), "b.json")[1] == b""


def test_a_file_has_limits():
    most, most_code = 16 << 20, 1 << 20
    name = "code/__torch__/b.py"
    lines = b"\n" * (most_code - len(CODE))
    checked(tensors((4,), **{name: lines, "extra/b": bytes(most)}), "b")
    with refused(r"its code has 1,048,577 bytes, more than the 1,048,576 .*"):
        checked(tensors((4,), **{name: lines + b"\n"}), "b")
    with refused(r"its b has 16,777,217 bytes, more than .*"):
        checked(tensors((4,), **{"extra/b": bytes(most + 1)}), "b")
    with refused("it holds 20,001 files, more than the 20,000 .*"):
        checked(tensors((4,), **{f"e/{i}": b"" for i in range(19_996)}), "b")
    checked(tensors((4,), **{f"e/{i}": b"" for i in range(19_995)}), "b")
    zeros = {"extra/b": bytes(70 << 20)}
    with refused(r"it unpacks to [\d,]+ times its size, more than the 4 .*"):
        checked(tensors((4,), **zeros), "b")
    data = zipfile.ZipFile(io.BytesIO(tensors((4,)))).read("m/data.pkl")
    start, end = data.index(b"ctorch._utils"), data.index(b"sb.")
    twice = b"\x80\x02(" + 2 * data[start:end] + b"t."
    for content, sentence in (
        (tensors((4,), **{"constants.pkl": twice, "constants/0": bytes(16)}),
         "it refers to a tensor's numbers twice"),
        (tensors((4,), **{"data.pkl": b"ctorch\nFooStorage\n."}), r"it constructs torch\.FooSt.*"),
        (tensors((4,), **{"data.pkl": b"c__torch__.torch.classes.q\nC\n."}), "it constructs .*"),
        (tensors((4,), **{name: b"\xff"}), r"its code code/__torch__/b\.py is damaged"),
        (tensors((4,), **{"data/A": b"", "data/a": b""}), "it holds two files named data/a"),
        (tensors((4,), **{"code/x.py": CODE}), "its code has an odd name 'code/x.py'"),
    ):  # fmt: skip
        with refused(sentence):
            checked(content, "b")


def test_the_classes_of_a_population_are_those_of_otsu():
    threshold, explained = otsu_threshold(np.array([11.0, 1.0, 10.0, 2.0]))
    assert (threshold, explained) == (2.0, pytest.approx(324 / 328))
    assert otsu_threshold(np.full(3, 7.0)) == (7.0, 0.0)
    assert bins_of(np.exp([1.001, 0.0, 0.051, 0.049])).tolist() == [20, 0, 1, 0]
    assert bins_of(np.array([0.0, -1.0, 2.0, 2.2])).tolist() == [0, 0, 0, 1]
    mean, trust = mean_of_similar_height(
        np.array([1.0, 0.0, 0.3]), np.array([0, 6, 31])
    )
    near = math.exp(-0.5)  # six bins are one width of the Gaussian; 25 are out of reach
    assert mean == pytest.approx([1 / (1 + near), near / (1 + near), 0.3], abs=1e-4)
    counts = np.array([1 + near, 1 + near, 1])
    assert trust == pytest.approx(counts / (counts + 20), abs=1e-4)


@pytest.mark.parametrize(
    ("bright", "dim"), [(0.55, 0.3), (0.59, 0.3), (0.95, 0.6), (0.99, 0.63)]
)
def test_two_classes_differ_by_a_quarter_and_the_dim_one_is_doubtful(bright, dim):
    p = np.array([bright] * 5 + [dim] * 5 + [0.2, 0.2])
    heights = np.array([9.0] * 5 + [1] * 5 + [1, -1])
    expected = expit((bright - dim - 0.25) / 0.04) * expit((0.6 - dim) / 0.04)
    assert dim_class(p, heights) == pytest.approx([0] * 5 + [expected] * 7)
    assert not dim_class(p[1:], heights[1:]).any()  # nine are too few
    even = dim_class(np.repeat([0.1, 0.3, 0.95], [1, 20, 20]), np.arange(41.0) ** 2)
    sure = expit((0.75 * 1600 / 1599 - 0.75) / 0.01) * expit(0.3 / 0.04)
    assert even == pytest.approx([sure] * 21 + [0] * 20, abs=1e-4)


def test_a_calibration_is_its_formula_and_needs_two_hundred():
    p = np.full(180, 0.2)  # of one height, whose mean is trusted by 180 / 200
    for value in (0.2, 1e-5, 0.55):
        expected = value
        for _ in range(4):
            prior = 0.9 * logit(np.clip(expected, 0.001, 0.5))
            expected = expit(logit(value) + 0.5 * prior)
        found = calibrated(np.full(180, value), p, Calibration(population=0.5))
        assert found == pytest.approx(expected, rel=1e-3)
    for n, n_real, fits in (
        (199, 99, 0),
        (200, 100, 1),
        (200, 4, 0),
        (200, 5, 1),
        (200, 196, 0),
    ):
        p, real = np.linspace(0.01, 0.99, n), np.arange(n) >= n - n_real
        assert (fit_calibration([p], [p], [real]) != Calibration()) == fits
    # Ten candidates count a third of an image; heights far apart tell nothing.
    heights, real = np.exp(1.3 * np.arange(310)), np.arange(310) < 40
    parts = [np.split(v, [10]) for v in (np.full(310, 0.5), heights, real)]
    assert calibrated([0.5], [1], fit_calibration(*parts))[0] == pytest.approx(
        0.325, abs=0.02
    )


def test_numbers_of_a_calibration_have_bounds():
    calibration.check_threshold(0.0)
    for threshold in (1.0, -1e-9, math.nan):
        with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\)"):
            calibration.check_threshold(threshold)
    with pytest.raises(ValueError, match="fdr sets the threshold itself"):
        calibration.check_fdr(0.5, 0.0)
    scenes = [(np.array([1.0]), 1 + i) for i in range(39)]  # the 38th of 39 deviations
    width = calibration.fit_interval_width(scenes)
    assert width == pytest.approx(37 / math.sqrt(0.25 + 0.05**2))


RECORD = {
    "architecture": "other", "arguments": {}, "cell_size": 4, "cell_map": "center", "stride": 4,
    "receptive_field": None, "normalization": "noise", "threshold": 0.5, "merge_distance": 0,
    "spot_sigma": None, "provenance": {}, "scores": {}, "format_version": 1,
}  # fmt: skip


def read(**changes):
    return Metadata.from_json(json.dumps(RECORD | changes))


def test_a_record_within_its_bounds_passes():
    assert read() == read(calibration=[0, 1], count_spread=None)
    assert read(calibration=[-1, 0.1, 0, 2]).calibration == (-1, 0.1, 0, 2)
    assert read().arguments == {}
    for changes, sentence in (
        ({"format_version": 2}, "its format is version 2, this blinkcore reads up to 1; .*"),
        ({"cell_size": 0}, "cell_size must be a positive integer, got 0"),
        ({"stride": 6}, "stride must be a multiple of cell_size, got 6"),
        ({"stride": 4.0}, "stride must be a positive integer, got 4.0"),
        ({"receptive_field": -1}, "receptive_field must be at least 0 and below 1,000,000"),
        ({"merge_distance": math.inf}, "merge_distance must be at least 0 and below 1,000,000"),
        ({"spot_sigma": [1]}, r"spot_sigma must be two widths, got \[1\]"),
        *(({"calibration": bad}, "calibration must be an offset, a positive slope .*")
          for bad in ([1], [0, 0], [0, 1, -1], [0, 1, 0, -1], [0, 1, 0, 0, 0], [math.nan, 1], 3)),
    ):  # fmt: skip
        with refused(sentence):
            read(**changes)


def test_a_grid_is_of_probabilities():
    sizes = []

    def give(values, stride=4, dtype=np.float32):
        def run(image):
            sizes.append(image.shape[-1])
            cells = np.ones((1, 1, sizes[-1] // 4, sizes[-1] // 4), dtype)
            return cells * np.array(values, dtype)[:, None, None]

        probe_grids(run, 4, 4, stride)

    def fail(_):
        raise OSError("broken\nand more")

    for stride, side in ((4, 8), (16, 32), (32, 32), (1024, 1024)):
        give([0, 1, 1, 1e-9], stride)
        assert sizes[-1] == side
    outside, errors = (
        r"its network gives probabilities or offsets outside \[0, 1\]",
        "its .* not positive",
    )
    for values, sentence in (
        ([-0.1, 0, 0, 1], outside), ([0, 0, 1.1, 1], outside), ([0, math.nan, 0, 1], outside),
        ([0, 0, 0, 0], errors), ([0, 0, 0, math.inf], errors), ([0, 0, 0], "its network gives .* grid .*"),
    ):  # fmt: skip
        with refused(sentence):
            give(values)
    with refused(r"its network gives numbers of type torch\.int32"):
        give([0, 0, 0, 1], dtype=np.int32)
    with refused("its stride of 1028 px is too large"):
        give([0, 0, 0, 1], 1028)
    with refused("its network fails: broken"):
        probe_grids(fail, 4, 4, 16)
    with refused("it has no part called 'network'"):
        probe(torch.nn.Identity(), 4, 16)


def test_a_registry_beside_its_models_is_sorted_and_small(tmp_path, monkeypatch):
    path = tmp_path / "r.txt"
    monkeypatch.setenv(registry.REGISTRY, str(path))
    (tmp_path / "b.pt").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    path.write_text(f"c.pt 12\nb.pt sha256:{digest}\nn.txt 12\na.pt 12\n")
    models = [("a", None), ("b", tmp_path / "b.pt"), ("c", None)]
    assert list(registry.registered_models().items()) == models
    assert registry.fetch("b") == tmp_path / "b.pt"
    assert registry.fetch("d") is None
    with path.open("ab") as file:
        file.write(b"#")  # one long comment
        file.truncate(limits.REGISTRY + 1)
    with pytest.raises(ValueError, match="has 16,777,217 bytes, more than"):
        registry.fetch("b")
