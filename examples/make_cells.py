"""Make cells.tif, the image of the first example, and cells_truth.csv, its true spots."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from blinkcore.io import write_image, write_spots
from blinkcore.simulation.ranges import GENERAL
from blinkcore.simulation.scenes import simulate

HERE = Path(__file__).parent
SMFISH = replace(
    GENERAL,
    sigma=(1.3, 1.5),
    density=(2.5e-3, 2.6e-3),
    snr=(6.0, 7.0),
    background=(80.0, 120.0),
    intensity_spread=(0.3, 0.35),
    structure=(0.8, 1.2),
    **dict.fromkeys(
        ["p_empty", "p_airy", "p_elliptical", "p_comets", "p_mixture", "p_lines",
         "p_discs", "p_hot_pixels", "p_em_gain", "p_saturated", "p_8bit",
         "p_resampled", "p_smoothed", "p_clustered", "p_texture", "p_blobs", "p_grain",
         "p_specks", "p_wide_spots", "p_flat_tops", "p_projected", "p_processed",
         "min_contrast", "min_relative_height"], 0.0,
    ),
    **dict.fromkeys(["p_cells", "p_haze", "p_out_of_focus", "p_defocused"], 1.0),
)  # fmt: skip

scene = simulate((512, 512), np.random.default_rng(8), ranges=SMFISH)
write_image(scene.image, HERE / "cells.tif")
truth = pd.DataFrame(scene.points, columns=["y", "x"]).assign(snr=scene.snr)
write_spots(truth, HERE / "cells_truth.csv")
