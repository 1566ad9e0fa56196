#pragma once

#include <cstddef>
#include <vector>

namespace blinkcore {

/// How a spot is fitted.
struct SpotFitOptions {
    std::size_t radius;    ///< px; the window has 2 radius + 1 px on each side
    double sigma;          ///< px, to begin with
    bool poisson;          ///< maximum likelihood of photons; else least squares
    double offset;         ///< counts, of the camera
    double gain;           ///< counts per photon
    double read_variance;  ///< photons squared
    std::size_t n_threads;
};

/// A Gaussian that is integrated over the pixels, on a flat background.
struct SpotFit {
    double y, x, sigma;            ///< px
    double intensity, background;  ///< photons: in total, and per pixel
    double y_error, x_error, sigma_error, intensity_error, background_error;
    double amplitude_error;  ///< of intensity / (2 pi sigma^2)
    double chi_square;  ///< squared residuals over the expected variance, per degree of freedom
};

/// Fit each spot in a window around it.
///
/// Errors are the square roots of the inverse Fisher information (of least squares: what photon
/// noise does to it). A fit that leaves its window or does not converge is NaN throughout.
///
/// @param image    counts, rows after each other, n_rows x n_cols
/// @param points   y, x of each spot, n_points x 2, px
std::vector<SpotFit> fit_spots(const float* image, std::size_t n_rows, std::size_t n_cols,
                               const double* points, std::size_t n_points,
                               const SpotFitOptions& options);

}  // namespace blinkcore
