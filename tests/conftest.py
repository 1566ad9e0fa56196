"""What several test files share."""

from pathlib import Path

import numpy as np
import pytest

from blinkcore.model import load_model
from blinkcore.simulate import SceneRanges, simulate

SHARED = Path(__file__).parents[2] / "shared" / "data"

EASY = SceneRanges(
    sigma=(1.2, 1.4),
    density=(2e-3, 2.1e-3),
    snr=(12.0, 14.0),
    background=(50.0, 60.0),
    intensity_spread=(0.0, 0.01),
    **{
        name: 0.0
        for name in SceneRanges.__dataclass_fields__
        if name.startswith("p_")
    },
)


@pytest.fixture(scope="session")
def general():
    return load_model("general", device="cpu")


@pytest.fixture(scope="session")
def scene():
    """Clean, well separated spots: 256 x 320 px."""
    return simulate((256, 320), np.random.default_rng(3), ranges=EASY)


@pytest.fixture
def shared():
    """Folder of real files beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the real images are not beside the project")
    return SHARED
