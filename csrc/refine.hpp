#pragma once

#include <cstddef>
#include <vector>

namespace blinkcore {

/// A round Gaussian on a tilted background, fitted to the pixels around a spot.
struct Fit {
    double y, x;   ///< Centre, px; NaN where the fit failed.
    double error;  ///< Standard error of y and of x, px, from what the fit leaves over.
    double sigma;  ///< Width, px.
};

struct FitOptions {
    std::size_t radius;  ///< Of the square of pixels around each spot, px.
    double sigma;        ///< Width to begin with, px.
};

/// Least squares by Levenberg and Marquardt: fit each of `n_points` spots (y, x) of an image in
/// row-major order, from where it is.
std::vector<Fit> refine(const float* image, std::size_t n_rows, std::size_t n_cols,
                        const double* points, std::size_t n_points, const FitOptions& options);

}  // namespace blinkcore
