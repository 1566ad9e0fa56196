"""Factors between robust measures of spread and the standard deviation of normal noise."""

from __future__ import annotations

import math

# Median of the absolute differences of two values: 0.6745 sqrt(2) standard deviations.
MEDIAN_TO_NOISE = 0.9539
# Standard deviation over the median absolute deviation from the median, 1 / 0.6745.
MAD_TO_NOISE = 1.4826
# Standard deviation over the mean of the absolute differences of two values.
MEAN_TO_NOISE = math.sqrt(math.pi) / 2.0
