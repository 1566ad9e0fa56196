#include "refine.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "positive_definite.hpp"

namespace blinkcore {
namespace {

constexpr std::size_t kSize = 7;
constexpr int kMaxSteps = 25;
constexpr double kGaussNewton = 1e-3;  // damping up to which a step is nearly undamped
constexpr double kSmallStep = 3e-3;    // px; the next one would be far smaller
constexpr double kMinSigma = 0.3;      // px
constexpr std::size_t kAmplitude = 3, kY = 4, kX = 5, kLogSigma = 6;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Background in the window's first pixel, its slope in y and in x, the spot's amplitude, y, x
/// and the logarithm of its sigma.
using Parameters = Vector<kSize>;
using Matrix = SquareMatrix<kSize>;

/// Pixels of a rectangle of the image.
struct Window {
    const float* image;
    std::size_t n_cols, top, bottom, left, right;  // one past the last: bottom, right

    std::size_t size() const { return (bottom - top) * (right - left); }
    std::size_t longer_side() const { return std::max(bottom - top, right - left); }
    bool holds(double y, double x) const {
        return y >= static_cast<double>(top) - 0.5 && y <= static_cast<double>(bottom) - 0.5 &&
               x >= static_cast<double>(left) - 0.5 && x <= static_cast<double>(right) - 0.5;
    }
};

/// Sum of squared differences, and the normal equations of a Gauss-Newton step.
struct NormalEquations {
    double squared_residual = 0.0;
    Matrix a{};
    Parameters b{};
};

// Along each axis five functions are enough, since model and derivatives are sums of products of
// one of the rows and one of the columns: 1, the distance d from the window's first pixel, and
// g = exp(-u^2 / 2), u g, u^2 g, where u is the distance from the spot in sigmas.
enum : std::size_t { kOne, kD, kG, kUG, kUUG, kFunctions };
using Functions = std::array<double, kFunctions>;
using Gram = std::array<Functions, kFunctions>;

/// The functions in the pixels of one axis.
void tabulate(double centre, double sigma, std::size_t first, std::size_t last,
              std::vector<Functions>& table) {
    table.resize(last - first);
    for (std::size_t i = 0; i < table.size(); ++i) {
        const double u = (static_cast<double>(first + i) - centre) / sigma;
        const double g = std::exp(-0.5 * u * u);
        table[i] = {1.0, static_cast<double>(i), g, u * g, u * u * g};
    }
}

/// Sums of products of the functions over the pixels of one axis.
Gram products(const std::vector<Functions>& table) {
    Gram sums{};
    for (const Functions& f : table)
        for (std::size_t i = 0; i < kFunctions; ++i)
            for (std::size_t j = 0; j <= i; ++j) sums[i][j] += f[i] * f[j];
    for (std::size_t i = 0; i < kFunctions; ++i)
        for (std::size_t j = i + 1; j < kFunctions; ++j) sums[i][j] = sums[j][i];
    return sums;
}

/// A function of rows times one of columns, times a factor.
struct Term {
    std::size_t parameter, row, col;
    double factor;
};

class Gaussian {
   public:
    explicit Gaussian(const Window& window) : window_(window) {}

    NormalEquations normal_equations(const Parameters& p) {
        const double sigma = std::exp(p[kLogSigma]);
        tabulate(p[kY], sigma, window_.top, window_.bottom, rows_);
        tabulate(p[kX], sigma, window_.left, window_.right, cols_);
        NormalEquations result;
        Gram residual_sums{};  // sums of the residual times a function of rows and one of columns
        for (std::size_t r = 0; r < rows_.size(); ++r) {
            const float* pixels = window_.image + (window_.top + r) * window_.n_cols + window_.left;
            const double background = p[0] + p[1] * rows_[r][kD];
            const double spot = p[kAmplitude] * rows_[r][kG];
            Functions sums{};
            for (std::size_t c = 0; c < cols_.size(); ++c) {
                const double model = background + p[2] * cols_[c][kD] + spot * cols_[c][kG];
                const double residual = static_cast<double>(pixels[c]) - model;
                result.squared_residual += residual * residual;
                for (std::size_t k = 0; k < kFunctions; ++k) sums[k] += cols_[c][k] * residual;
            }
            for (std::size_t i = 0; i < kFunctions; ++i)
                for (std::size_t k = 0; k < kFunctions; ++k)
                    residual_sums[i][k] += rows_[r][i] * sums[k];
        }
        const Gram rows = products(rows_);
        const Gram cols = products(cols_);
        // Derivatives of the model by its parameters.
        const std::array<Term, kSize + 1> terms = {{{0, kOne, kOne, 1.0},
                                                    {1, kD, kOne, 1.0},
                                                    {2, kOne, kD, 1.0},
                                                    {kAmplitude, kG, kG, 1.0},
                                                    {kY, kUG, kG, p[kAmplitude] / sigma},
                                                    {kX, kG, kUG, p[kAmplitude] / sigma},
                                                    {kLogSigma, kUUG, kG, p[kAmplitude]},
                                                    {kLogSigma, kG, kUUG, p[kAmplitude]}}};
        for (const Term& one : terms) {
            result.b[one.parameter] += one.factor * residual_sums[one.row][one.col];
            for (const Term& other : terms)
                result.a[one.parameter][other.parameter] +=
                    one.factor * other.factor * rows[one.row][other.row] * cols[one.col][other.col];
        }
        return result;
    }

   private:
    Window window_;
    std::vector<Functions> rows_, cols_;
};

/// Standard error of y and of x: the variance of the residual times the diagonal of the
/// inverse of the normal matrix.
double standard_error(const NormalEquations& equations, const Window& window) {
    const double residual = equations.squared_residual / static_cast<double>(window.size() - kSize);
    const auto inverted = inverse(equations.a);
    if (!inverted) return kNaN;
    double variance = 0.0;
    for (const std::size_t axis : {kY, kX}) variance += 0.5 * residual * (*inverted)[axis][axis];
    return std::sqrt(variance);
}

/// Levenberg-Marquardt from `p`; nullopt if it does not converge to a spot in the window.
std::optional<Fit> fit(Gaussian& gaussian, Parameters p, const Window& window) {
    const double max_log_sigma = std::log(static_cast<double>(window.longer_side()));
    double damping = kGaussNewton;
    NormalEquations now = gaussian.normal_equations(p);
    for (int step = 0; step < kMaxSteps; ++step) {
        Matrix damped = now.a;
        for (std::size_t i = 0; i < kSize; ++i) damped[i][i] *= 1.0 + damping;
        const auto lower = cholesky(damped);
        if (!lower) return std::nullopt;
        const Parameters change = solve(*lower, now.b);
        Parameters next = p;
        for (std::size_t i = 0; i < kSize; ++i) next[i] += change[i];
        if (!(next[kLogSigma] > std::log(kMinSigma) && next[kLogSigma] < max_log_sigma) ||
            !window.holds(next[kY], next[kX]))
            return std::nullopt;
        const double sigma = std::exp(next[kLogSigma]);
        const double moved = std::max(
            {std::abs(change[kY]), std::abs(change[kX]), std::abs(change[kLogSigma]) * sigma});
        if (moved < kSmallStep && damping <= kGaussNewton) {
            const double error = standard_error(now, window);
            if (!(next[kAmplitude] > 0.0) || !std::isfinite(error)) return std::nullopt;
            return Fit{next[kY], next[kX], error, sigma};
        }
        const NormalEquations then = gaussian.normal_equations(next);
        if (then.squared_residual <= now.squared_residual) {
            p = next;
            now = then;
            damping *= 0.1;
        } else {
            damping *= 10.0;
        }
    }
    return std::nullopt;
}

}  // namespace

std::vector<Fit> refine(const float* image, std::size_t n_rows, std::size_t n_cols,
                        const double* points, std::size_t n_points, const FitOptions& options) {
    const Fit failed{kNaN, kNaN, kNaN, kNaN};
    std::vector<Fit> fits(n_points, failed);
    if (n_rows == 0 || n_cols == 0) return fits;
    const auto nearest = [](double position, std::size_t n) {
        const double max_value = static_cast<double>(n) - 1.0;
        return static_cast<std::size_t>(std::clamp(std::round(position), 0.0, max_value));
    };
    for (std::size_t i = 0; i < n_points; ++i) {
        const double y = points[2 * i];
        const double x = points[2 * i + 1];
        if (!std::isfinite(y) || !std::isfinite(x)) continue;
        const std::size_t row = nearest(y, n_rows);
        const std::size_t col = nearest(x, n_cols);
        const std::size_t radius = options.radius;
        const Window window{image,
                            n_cols,
                            row < radius ? 0 : row - radius,
                            std::min(row + radius + 1, n_rows),
                            col < radius ? 0 : col - radius,
                            std::min(col + radius + 1, n_cols)};
        if (window.size() < 3 * kSize) continue;
        double lowest = std::numeric_limits<double>::infinity();
        for (std::size_t r = window.top; r < window.bottom; ++r)
            for (std::size_t c = window.left; c < window.right; ++c)
                lowest = std::min(lowest, static_cast<double>(image[r * n_cols + c]));
        const double peak = static_cast<double>(image[row * n_cols + col]);
        if (!(peak > lowest)) continue;
        Gaussian gaussian(window);
        const auto found =
            fit(gaussian, {lowest, 0.0, 0.0, peak - lowest, y, x, std::log(options.sigma)}, window);
        if (found) fits[i] = *found;
    }
    return fits;
}

}  // namespace blinkcore
