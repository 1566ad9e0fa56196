"""Ranges that scenes are drawn from: every choice of the simulator has a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True)
class SceneRanges:
    """Everything that a scene draws from; pairs are (minimum, maximum).

    Attributes
    ----------
    sigma : pair
        Width of the point spread function in px, log-uniform.
    ellipticity : pair
        Ratio of the two widths of an elliptical point spread function.
    density : pair
        Spots per px², log-uniform.
    snr : pair
        Signal to noise ratio of a typical spot, (peak - background) / sqrt(peak) in
        photons, log-uniform.
    background : pair
        Photons per px, log-uniform.
    intensity_spread : pair
        Standard deviation of the logarithm of the spots' intensities.
    mixture : pair
        Factor by which some spots of a mixture are brighter than the others.
    structure : pair
        Contrast of cells, haze and texture, in units of the background.
    grain : pair
        Standard deviation of a texture with a power-law spectrum, in units of the
        background, log-uniform.
    grain_slope : pair
        Exponent a of that spectrum: amplitude falls as frequency to the power of -a.
    specks : pair
        Unlabelled specks per px² in scenes that have them, log-uniform.
    speck_height : pair
        Height of the brightest specks in units of the median spot's height.
    flat_top : pair
        Height, in units of the median spot's height, at which over-exposed spots are
        cut, log-uniform.
    contrast : pair
        Contrast to noise (see `blinkcore.simulation.contrast`) of a typical spot that
        is implanted into a real plane, log-uniform.
    zoom : pair
        Factor by which a real plane is resampled before spots are implanted.
    min_contrast : float
        A spot below this contrast to noise is drawn and not labelled: a person would not
        see it.
    min_relative_height : float
        A spot below this share of the median height is drawn and not labelled: a person
        marks the bright class of an image.
    p_* : float
        Probability that a scene has this feature.
    """

    sigma: tuple[float, float] = (0.8, 2.5)
    ellipticity: tuple[float, float] = (1.05, 1.5)
    density: tuple[float, float] = (1e-4, 1.2e-2)
    snr: tuple[float, float] = (1.0, 25.0)
    background: tuple[float, float] = (2.0, 2000.0)
    intensity_spread: tuple[float, float] = (0.1, 0.7)
    mixture: tuple[float, float] = (1.5, 3.0)
    structure: tuple[float, float] = (0.05, 2.0)
    grain: tuple[float, float] = (0.01, 0.5)
    grain_slope: tuple[float, float] = (0.3, 1.6)
    specks: tuple[float, float] = (3e-4, 1.2e-2)
    speck_height: tuple[float, float] = (0.1, 0.45)
    flat_top: tuple[float, float] = (0.05, 0.8)
    contrast: tuple[float, float] = (4.0, 25.0)
    zoom: tuple[float, float] = (0.6, 1.6)
    min_contrast: float = 4.0
    min_relative_height: float = 0.2
    p_empty: float = 0.05
    p_clustered: float = 0.25
    p_airy: float = 0.2
    p_elliptical: float = 0.2
    p_defocused: float = 0.3
    p_comets: float = 0.1
    p_mixture: float = 0.3
    p_wide_spots: float = 0.15
    p_cells: float = 0.45
    p_haze: float = 0.5
    p_texture: float = 0.3
    p_grain: float = 0.4
    p_gradient: float = 0.4
    p_specks: float = 0.35
    p_out_of_focus: float = 0.35
    p_blobs: float = 0.2
    p_discs: float = 0.15
    p_lines: float = 0.2
    p_hot_pixels: float = 0.25
    p_em_gain: float = 0.15
    p_scmos: float = 0.3
    p_saturated: float = 0.05
    p_flat_tops: float = 0.15
    p_8bit: float = 0.2
    p_jpeg: float = 0.06
    p_resampled: float = 0.2
    p_smoothed: float = 0.1
    p_projected: float = 0.15
    p_processed: float = 0.4


GENERAL = SceneRanges()


def log_uniform(rng: Generator, limits: tuple[float, float]) -> float:
    """Draw a number from a log-uniform distribution.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    limits : pair
        Minimum and maximum, both positive.

    Returns
    -------
    float
    """
    low, high = np.log(limits)
    return float(np.exp(rng.uniform(low, high)))


def happens(rng: Generator, probability: float) -> bool:
    """Draw whether something happens; a probability of 0 uses no random number.

    So a preset keeps its scenes, bit for bit, when a feature that it does not use is
    added to the simulator.
    """
    return probability > 0 and bool(rng.random() < probability)
