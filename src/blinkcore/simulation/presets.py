"""The simulator's presets: the ranges from which each kind of scene is drawn.

`vesicle`, `receptor` and `microtubule` follow the particle tracking challenge of 2012
(Chenouard et al., Nature Methods 2014, doi:10.1038/nmeth.2808): SNR 1, 2, 4, 7 and 100,
500, 1000 (microtubules 60, 400, 700) particles in 512 x 512 px, comets for microtubules.
Widths of spots and backgrounds are not published there and are our choice. `particle`,
`smfish` and `suntag` imitate the data sets of those names of deepBlink's paper, which are
real or simulated by programs of others, after their descriptions and pictures.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from blinkcore.files import did_you_mean
from blinkcore.simulation.ranges import GENERAL, SceneRanges

# Spots on an even background, a plain camera and no artefacts: what presets build on.
_NOTHING: dict[str, Any] = {
    f.name: 0.0 for f in fields(SceneRanges) if f.name.startswith("p_")
}
# Their truth is every spot that is drawn, however dim, as in the challenge.
_PLAIN = replace(
    GENERAL,
    **_NOTHING,
    intensity_spread=(0.05, 0.2),
    mixture=(1.5, 6.0),
    min_contrast=0.0,
    min_relative_height=0.0,
)


def _per_512(minimum: float, maximum: float) -> tuple[float, float]:
    """Convert numbers of spots in 512 x 512 px to spots per px²."""
    return minimum / 512**2, maximum / 512**2


PRESETS: dict[str, SceneRanges] = {
    "general": GENERAL,
    # Bright, well separated beads of one kind, some out of focus.
    "particle": replace(
        _PLAIN,
        sigma=(1.2, 1.8),
        density=_per_512(50, 500),
        snr=(3.0, 20.0),
        background=(20.0, 300.0),
        p_defocused=0.5,
        p_gradient=0.3,
    ),
    # Vesicles: round, Brownian.
    "vesicle": replace(
        _PLAIN,
        sigma=(1.4, 1.7),
        density=_per_512(100, 1000),
        snr=(1.0, 7.0),
        background=(10.0, 11.0),
    ),
    # Receptors: as vesicles, of smaller width and less even intensity.
    "receptor": replace(
        _PLAIN,
        sigma=(1.1, 1.4),
        density=_per_512(100, 1000),
        snr=(1.0, 7.0),
        background=(10.0, 11.0),
        intensity_spread=(0.1, 0.3),
    ),
    # Growing tips of microtubules: comets, labelled at the bright end.
    "microtubule": replace(
        _PLAIN,
        sigma=(1.2, 1.6),
        density=_per_512(60, 700),
        snr=(1.0, 7.0),
        background=(10.0, 11.0),
        p_comets=1.0,
    ),
    # Single mRNA in fixed cells: sharp spots inside of cells, of varied number.
    "smfish": replace(
        _PLAIN,
        sigma=(1.0, 1.6),
        density=(3e-4, 6e-3),
        snr=(3.0, 15.0),
        background=(50.0, 400.0),
        intensity_spread=(0.2, 0.4),
        structure=(0.3, 2.0),
        p_cells=1.0,
        p_haze=0.3,
        p_texture=0.2,
        p_out_of_focus=0.5,
        p_clustered=0.2,
        p_defocused=0.3,
        p_empty=0.05,
    ),
    # Nascent peptides in live cells: few and dim spots on the light of single proteins.
    "suntag": replace(
        _PLAIN,
        sigma=(1.2, 1.9),
        density=(1e-4, 1.2e-3),
        snr=(1.5, 6.0),
        background=(20.0, 150.0),
        intensity_spread=(0.3, 0.6),
        structure=(0.5, 2.0),
        p_cells=1.0,
        p_haze=0.5,
        p_texture=0.6,
        p_out_of_focus=0.3,
        p_mixture=0.3,
        p_em_gain=0.5,
        p_empty=0.05,
    ),
}


def ranges_of(preset: str) -> SceneRanges:
    """Look up the ranges of a preset.

    Raises
    ------
    ValueError
        If there is no preset of this name.
    """
    if preset not in PRESETS:
        near = did_you_mean(preset, PRESETS)
        raise ValueError(f"there is no preset {preset!r}; {near}")
    return PRESETS[preset]
