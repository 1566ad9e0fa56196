import numpy as np
import pytest

from blinkcore.simulation.presets import PRESETS
from blinkcore.simulation.scenes import simulate


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_draws_scenes_within_its_ranges(name):
    ranges = PRESETS[name]
    counts = []
    for seed in range(20):
        scene = simulate((128, 128), np.random.default_rng(seed), ranges=ranges)
        counts.append(len(scene.points))
        assert scene.image.shape == (128, 128)
        if not ranges.p_resampled:
            assert ranges.sigma[0] <= scene.sigma <= ranges.sigma[1]
    assert max(counts) <= 2 * ranges.density[1] * 128**2
    assert sum(counts) > 20


def test_presets_are_different():
    images = [
        simulate((64, 64), np.random.default_rng(1), ranges=r).image
        for r in PRESETS.values()
    ]
    assert len({image.tobytes() for image in images}) == len(PRESETS)
