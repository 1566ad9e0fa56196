#pragma once

#include <cstddef>
#include <vector>

namespace blinkcore {

/// A round Gaussian on a tilted background, fitted to the pixels around a spot.
struct Fit {
    double y, x;   ///< Centre, px; NaN where the fit failed.
    double error;  ///< Standard error of y and of x, px, from the residual of the fit.
    double sigma;  ///< Width, px.
};

struct FitOptions {
    std::size_t radius;  ///< Of the square of pixels around each spot, px.
    double sigma;        ///< Width to begin with, px.
};

/// Fit b + by (r - r0) + bx (c - c0) + A exp(-((r - y)^2 + (c - x)^2) / (2 sigma^2)) to the pixels
/// (r, c) of a square by least squares with the method of Levenberg and Marquardt (Marquardt 1963,
/// doi:10.1137/0111030). The standard error follows from the residual's variance and the normal
/// matrix (Press et al., Numerical Recipes, section 15.5). Fits each of `n_points` spots (y, x) of
/// an image in row-major order, starting from its given position.
std::vector<Fit> refine(const float* image, std::size_t n_rows, std::size_t n_cols,
                        const double* points, std::size_t n_points, const FitOptions& options);

}  // namespace blinkcore
