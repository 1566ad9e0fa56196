"""The peer: a Laplacian of Gaussian detector as TrackMate's, in scipy, one scale."""

import numpy as np
from scipy import ndimage


def log_maxima(image, sigma):
    """Maxima of the LoG with their quadratic sub-pixel position: (n, 3) y, x, quality."""
    response = -ndimage.gaussian_laplace(image.astype(np.float32), sigma)
    peaks = response == ndimage.maximum_filter(response, 3)
    peaks[[0, -1]] = peaks[:, [0, -1]] = False
    peaks &= response > 0
    row, col = peaks.nonzero()
    centre = response[row, col]
    up, down = response[row - 1, col], response[row + 1, col]
    left, right = response[row, col - 1], response[row, col + 1]
    dy = 0.5 * (up - down) / np.minimum(up + down - 2 * centre, -1e-9)
    dx = 0.5 * (left - right) / np.minimum(left + right - 2 * centre, -1e-9)
    y, x = row + np.clip(dy, -0.5, 0.5), col + np.clip(dx, -0.5, 0.5)
    return np.stack([y, x, centre], axis=1)


def detect(image, sigma, threshold):
    """Spots (n, 2) whose quality exceeds a threshold."""
    spots = log_maxima(image, sigma)
    return spots[spots[:, 2] > threshold, :2]
