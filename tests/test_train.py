import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from blinkcore.datasets.dataset import Sample
from blinkcore.network.device import half_precision
from blinkcore.network.losses import grid_loss
from blinkcore.network.model import load_model, read_metadata
from blinkcore.training.checkpoint import State
from blinkcore.training.recipe import TrainConfig, learning_rate
from blinkcore.training.samples import _augmented_crop
from blinkcore.training.train import train
from blinkcore.training.validation import CANDIDATE_THRESHOLDS, SCORES, validate

TINY = TrainConfig(
    arguments={"filters": 4, "depth": 1, "levels": 1},
    steps=6,
    batch_size=2,
    crop=32,
    validate_every=2,
    n_valid=2,
    seed=3,
)


def weights(path):
    content = torch.load(path, weights_only=True)
    return {**content["network"], **content["averaged"]}, content["optimizer"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("amp", [True, False])
@pytest.mark.parametrize("network", ["blink", "deepblink"])
def test_a_resumed_training_equals_an_uninterrupted_one_to_the_bit(
    tmp_path, network, amp
):
    blink = {"filters": 4, "depth": 1, "levels": 3}
    sizes = blink if network == "blink" else {"filters": [4, 4, 4]}
    config = replace(TINY, network=network, arguments=sizes, amp=amp)
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    train(config, tmp_path / "whole" / "m.pt", workers=0)

    class Cut(Exception):
        pass

    def cut(state):
        if state.step == 5:  # after the checkpoint of step 4
            raise Cut

    with pytest.raises(Cut):
        train(config, tmp_path / "cut" / "m.pt", workers=0, on_step=cut)
    train(config, tmp_path / "cut" / "m.pt", resume=True, workers=0)
    one, other = (weights(tmp_path / f / "m.checkpoint") for f in ("whole", "cut"))
    assert_same(one[0], other[0])
    for index, state in one[1]["state"].items():
        assert_same(state, other[1]["state"][index])


def test_a_model_without_a_checkpoint_is_not_trained_over(tmp_path):
    (tmp_path / "m.pt").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"no m\.checkpoint beside it"):
        train(TINY, tmp_path / "m.pt", resume=True, workers=0)
    assert (tmp_path / "m.pt").read_bytes() == b"mine"


@pytest.mark.skipif(half_precision("cpu") is None, reason="CPU without bfloat16")
def test_half_precision_gives_nearly_the_same_weights_in_single(tmp_path):
    for name, amp in (("half", True), ("single", False)):
        train(replace(TINY, amp=amp), tmp_path / f"{name}.pt", workers=0)
    half, single = (
        weights(tmp_path / f"{n}.checkpoint")[0] for n in ("half", "single")
    )
    for name, value in half.items():
        assert value.dtype == single[name].dtype != torch.bfloat16, name
    names = [n for n, value in half.items() if value.dtype == torch.float32]
    one, other = (
        torch.cat([values[n].flatten() for n in names]) for values in (half, single)
    )
    assert 0 < (one - other).norm() / other.norm() < 0.05


def test_worker_processes_draw_the_same_scenes(tmp_path):
    for name, workers in (("none", 0), ("two", 2)):
        train(replace(TINY, steps=2), tmp_path / f"{name}.pt", workers=workers)
    one, other = (weights(tmp_path / f"{n}.checkpoint")[0] for n in ("none", "two"))
    assert_same(one, other)


def test_the_log_has_one_row_a_validation(tmp_path):
    metadata = train(TINY, tmp_path / "m.pt", workers=0)
    with (tmp_path / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert set(SCORES) < set(rows[0])
    best = max(float(row["f1_integral"]) for row in rows)
    assert metadata.scores["f1_integral"] == pytest.approx(best)


def test_tensorboard_reads_the_curves(tmp_path):
    pytest.importorskip("tensorboard", reason="needs TensorBoard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second one replaces what the first one left
        train(TINY, tmp_path / "m.pt", workers=0)
    curves = EventAccumulator(str(tmp_path / "m.tensorboard")).Reload()
    with (tmp_path / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "f1_integral"):
        events = curves.Scalars(name)
        assert [e.step for e in events] == [2, 4, 6]
        np.testing.assert_allclose(
            [e.value for e in events], [float(r[name]) for r in rows], rtol=1e-5
        )


def test_the_model_tells_how_it_was_made(tmp_path):
    train(TINY, tmp_path / "m.pt", workers=0)
    metadata = read_metadata(tmp_path / "m.pt")
    assert metadata.provenance["recipe"]["seed"] == 3
    assert metadata.provenance["recipe"]["ranges"]["sigma"] == [0.8, 2.5]
    assert metadata.arguments == TINY.arguments
    assert load_model(tmp_path / "m.pt").metadata == metadata


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    train(replace(TINY, steps=2), tmp_path / "m.pt", workers=0)
    with pytest.raises(ValueError, match="another recipe"):
        train(TINY, tmp_path / "m.pt", resume=True, workers=0)


def test_what_decides_no_weight_may_change_on_resuming(tmp_path):
    train(TINY, tmp_path / "m.pt", workers=0)
    train(replace(TINY, patience=3), tmp_path / "m.pt", resume=True, workers=0)
    with pytest.raises(ValueError, match=r"\(its seed differs\)"):
        train(replace(TINY, seed=9), tmp_path / "m.pt", resume=True, workers=0)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    (tmp_path / "m.checkpoint").write_text("x")
    with pytest.raises(ValueError, match="is not a checkpoint of a training"):
        train(TINY, tmp_path / "m.pt", resume=True, workers=0)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=1000, learning_rate=0.5)
    rates = [learning_rate(step, config) for step in range(1001)]
    assert rates[0] == pytest.approx(0.025)
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    assert rates[510] == pytest.approx(0.25, rel=0.01)
    assert rates[1000] == pytest.approx(0.0, abs=1e-9)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@pytest.mark.slow
def test_a_few_minutes_of_training_learn_something(tmp_path, easy):
    config = TrainConfig(
        arguments={"filters": 8, "depth": 1, "levels": 2},
        steps=120,
        batch_size=4,
        crop=64,
        learning_rate=5e-3,
        validate_every=60,
        n_valid=4,
        ema=0.9,
        ranges=easy,
    )
    metadata = train(config, tmp_path / "m.pt", workers=1)
    assert metadata.scores["f1"] > 0.8


def test_validation_scores_a_perfect_network_with_one(scene):
    from blinkcore.network import grid

    class Oracle(torch.nn.Module):
        cell_size, cell_map, normalization = 2, "center", "noise"
        predicts_error = False
        stride, merge_distance, receptive_field = 4, 0.0, 16

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            shape = (x.shape[2] // 2, x.shape[3] // 2)
            return torch.from_numpy(grid.encode(scene.points, shape, cell_size=2))[None]

        def activate(self, raw):
            return raw

    result = validate(Oracle(), [scene])
    assert result.threshold in CANDIDATE_THRESHOLDS
    scores = result.scores
    # Of two spots in one cell of 2 px one is lost, whatever the network.
    assert scores["precision"] == 1.0
    assert scores["recall"] > 0.98
    assert scores["rmse"] < 0.05


def test_training_on_own_labels_mixes_in_simulated_scenes(tmp_path, labelled):
    config = replace(TINY, data=labelled, data_sha256="a" * 64, simulated=0.5)
    metadata = train(config, tmp_path / "m.pt", workers=0)
    assert metadata.provenance["data"].startswith(
        "d.npz (sha256 aaaaaaaaaaaaaaaa) and 50%"
    )
    only = train(replace(config, simulated=0.0), tmp_path / "o.pt", workers=0)
    assert only.spot_sigma is None


def test_fine_tuning_begins_with_the_models_weights(tmp_path, labelled):
    first = train(replace(TINY, steps=2), tmp_path / "a.pt", workers=0)
    config = replace(
        TINY, steps=1, validate_every=1, data=labelled, start=str(tmp_path / "a.pt"),
        learning_rate=0.0, arguments=first.arguments,
    )  # fmt: skip
    train(config, tmp_path / "b.pt", workers=0)
    from blinkcore.network.model import load_weights

    one, other = (load_weights(tmp_path / f"{n}.pt") for n in "ab")
    for name, value in one.items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(value, other[name])


def test_crops_of_labels_keep_spots_on_their_pixels():
    from blinkcore.datasets.dataset import Sample
    from blinkcore.training.samples import _augmented_crop

    image = np.random.default_rng(0).normal(100, 1, (40, 50)).astype(np.float32)
    points = np.array([(5.0, 7.0), (30.0, 44.0), (39.0, 0.0)])
    for y, x in points.astype(int):
        image[y, x] = 1000
    sample = Sample(image, points, "train", "a", "a")
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pixels, found = _augmented_crop(sample, 48, "noise", rng)
        assert pixels.shape == (48, 48)
        bright = np.argwhere(pixels > 100)
        assert sorted(map(tuple, bright)) == sorted(map(tuple, found.astype(int)))


def test_training_stops_when_nothing_gets_better(tmp_path):
    config = replace(TINY, steps=40, validate_every=1, learning_rate=0.0, patience=3)
    train(config, tmp_path / "m.pt", workers=0)
    with (tmp_path / "m.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) < 40


def test_weights_of_two_models_are_averaged(tmp_path):
    from blinkcore.network.model import load_weights

    models = []
    for seed in (1, 2):
        path = tmp_path / f"m{seed}.pt"
        train(replace(TINY, seed=seed, steps=1, validate_every=1), path, workers=0)
        models.append(path)
    mean = tmp_path / "mean.pt"
    recipe = replace(TINY, start=str(models[0]), average_with=str(models[1]), steps=0)
    train(recipe, mean, workers=0)
    first, second, got = (load_weights(path) for path in (*models, mean))
    for name, weight in got.items():
        if weight.is_floating_point():
            expected = (first[name] + second[name]) / 2
            np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-7)


def test_young_averages_forget_faster():
    """Of the first step's weights a tenth is the start and nine tenths are the new ones."""
    state = State.fresh(TINY, "cpu")
    before = [value.clone() for value in state.averaged.parameters()]
    with torch.no_grad():
        for value in state.network.parameters():
            value.add_(1.0)
    state.step = 1
    state.average(0.999)
    for old, new in zip(before, state.averaged.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.9)


def test_gradients_are_clipped(tmp_path):
    """A loss a million times as large moves the weights no further."""
    norms = []

    def huge(*arguments, **options):
        return 1e6 * grid_loss(*arguments, **options)

    def look(state):
        squares = (p.grad.square().sum() for p in state.network.parameters())
        norms.append(float(sum(squares)) ** 0.5)

    train(TINY, tmp_path / "m.pt", workers=0, loss=huge, on_step=look)
    assert max(norms) <= 1.001
    assert min(norms) > 0.9


def test_a_checkpoint_of_a_cpu_goes_on_with_a_scaler(tmp_path):
    """On a CPU the gradient scaler has no state, on a GPU it wants one."""
    state = State.fresh(TINY, "cpu")
    state.save(tmp_path / "c", TINY)
    state.scaler = torch.amp.GradScaler("cpu", enabled=True)
    scale = state.scaler.get_scale()
    state.load(tmp_path / "c", TINY)
    assert state.scaler.is_enabled()
    assert state.scaler.get_scale() == scale
    assert state.step == 0


def test_a_checkpoint_that_lacks_its_parts_is_one_sentence(tmp_path):
    torch.save({"config": {}}, tmp_path / "c")
    with pytest.raises(ValueError, match="is not a checkpoint of a training"):
        State.fresh(TINY, "cpu").load(tmp_path / "c", TINY)


def test_a_part_of_the_crops_gets_more_noise():
    sample = Sample(np.full((64, 64), 7.0), np.empty((0, 2)), "train", "a", "a")
    noisy = [
        _augmented_crop(sample, 32, "noise", np.random.default_rng(seed))[0].std() > 0
        for seed in range(300)
    ]
    assert 0.2 < np.mean(noisy) < 0.4
