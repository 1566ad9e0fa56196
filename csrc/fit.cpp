#include "fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <thread>

namespace blinkcore {
namespace {

constexpr std::size_t kSize = 5;
constexpr std::size_t kY = 0, kX = 1, kSigma = 2, kIntensity = 3, kBackground = 4;
constexpr int kMaxSteps = 40;
constexpr double kSmallStep = 1e-4;  // px, and shares of the intensity
constexpr double kMinSigma = 0.3;    // px
constexpr double kLeast = 1e-3;      // photons; lower limit of what must be positive
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRoot2 = 1.4142135623730951, kRoot2Pi = 2.5066282746310002;

using Parameters = std::array<double, kSize>;
using Matrix = std::array<Parameters, kSize>;

/// Share of the light in a row or column, and its derivatives by position and by sigma.
struct Share {
    double value, by_place, by_sigma;
};

void tabulate(double centre, double sigma, std::size_t first, std::vector<Share>& table) {
    const auto erf_at = [&](double edge) { return std::erf((edge - centre) / (kRoot2 * sigma)); };
    const auto density_at = [&](double edge) {
        const double u = (edge - centre) / sigma;
        return std::exp(-0.5 * u * u) / (kRoot2Pi * sigma);
    };
    double edge = static_cast<double>(first) - 0.5;
    double erf_low = erf_at(edge), density_low = density_at(edge);
    for (Share& share : table) {
        const double next = edge + 1.0;
        const double erf_high = erf_at(next), density_high = density_at(next);
        share.value = 0.5 * (erf_high - erf_low);
        share.by_place = density_low - density_high;
        share.by_sigma = ((edge - centre) * density_low - (next - centre) * density_high) / sigma;
        edge = next;
        erf_low = erf_high;
        density_low = density_high;
    }
}

/// Inverse of a positive definite matrix by Cholesky's decomposition.
std::optional<Matrix> inverse(const Matrix& a) {
    Matrix lower{};
    for (std::size_t i = 0; i < kSize; ++i)
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = a[i][j];
            for (std::size_t k = 0; k < j; ++k) sum -= lower[i][k] * lower[j][k];
            if (i == j) {
                if (!(sum > 0.0)) return std::nullopt;
                lower[i][i] = std::sqrt(sum);
            } else {
                lower[i][j] = sum / lower[j][j];
            }
        }
    Matrix result{};
    for (std::size_t column = 0; column < kSize; ++column) {
        Parameters b{};
        b[column] = 1.0;
        for (std::size_t i = 0; i < kSize; ++i) {
            for (std::size_t k = 0; k < i; ++k) b[i] -= lower[i][k] * b[k];
            b[i] /= lower[i][i];
        }
        for (std::size_t i = kSize; i-- > 0;) {
            for (std::size_t k = i + 1; k < kSize; ++k) b[i] -= lower[k][i] * b[k];
            b[i] /= lower[i][i];
        }
        for (std::size_t i = 0; i < kSize; ++i) result[i][column] = b[i];
    }
    return result;
}

/// What is minimized, and the equations of a step.
struct Equations {
    double cost = 0.0;
    double chi_square = 0.0;
    Matrix a{};            // weighted products of derivatives
    Matrix by_variance{};  // the same, times the expected variance (of least squares)
    Parameters b{};
};

class Fitter {
   public:
    explicit Fitter(const SpotFitOptions& options) : options_(options) {}

    SpotFit run(const float* image, std::size_t n_rows, std::size_t n_cols, double y, double x) {
        const SpotFit failed{kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN};
        if (!cut(image, n_rows, n_cols, y, x)) return failed;
        Parameters p = start(y, x);
        Equations now = equations(p);
        double damping = 1e-2;
        bool converged = false;
        for (int step = 0; step < kMaxSteps && !converged; ++step) {
            Matrix damped = now.a;
            for (std::size_t i = 0; i < kSize; ++i) damped[i][i] *= 1.0 + damping;
            const auto solved = inverse(damped);
            if (!solved) return failed;
            Parameters change{}, next = p;
            for (std::size_t i = 0; i < kSize; ++i) {
                for (std::size_t j = 0; j < kSize; ++j) change[i] += (*solved)[i][j] * now.b[j];
                next[i] += change[i];
            }
            next[kSigma] = std::clamp(next[kSigma], kMinSigma, 2.0 * max_sigma());
            next[kIntensity] = std::max(next[kIntensity], kLeast);
            if (options_.poisson) next[kBackground] = std::max(next[kBackground], kLeast);
            const Equations then = equations(next);
            const double moved =
                std::max({std::abs(change[kY]), std::abs(change[kX]), std::abs(change[kSigma]),
                          std::abs(change[kIntensity]) / p[kIntensity]});
            // At the end rounding alone decides whether a step is better.
            const bool is_level = then.cost - now.cost < 1e-9 * std::abs(now.cost);
            converged = moved < kSmallStep && (damping <= 1.0 || is_level);
            if (then.cost <= now.cost) {
                p = next;
                now = then;
                damping *= 0.1;
            } else {
                damping *= 10.0;
                if (damping > 1e8) return failed;
            }
        }
        const auto covariance = inverse(now.a);
        if (!converged || !covariance || !holds(p)) return failed;
        return described(p, now, *covariance);
    }

   private:
    double max_sigma() const { return static_cast<double>(options_.radius); }

    /// Copy the window around a spot; false if its centre is outside or a pixel not finite.
    bool cut(const float* image, std::size_t n_rows, std::size_t n_cols, double y, double x) {
        if (!(y > -0.5 && x > -0.5 && y < static_cast<double>(n_rows) - 0.5 &&
              x < static_cast<double>(n_cols) - 0.5))
            return false;
        const auto range = [&](double centre, std::size_t n, std::size_t& first) {
            const auto middle = static_cast<std::ptrdiff_t>(std::lround(std::max(centre, 0.0)));
            const auto reach = static_cast<std::ptrdiff_t>(options_.radius);
            first = static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, middle - reach));
            const auto last = static_cast<std::size_t>(middle + reach) + 1;
            return std::min(last, n) - first;
        };
        rows_.resize(range(y, n_rows, top_));
        cols_.resize(range(x, n_cols, left_));
        if (rows_.size() * cols_.size() <= kSize) return false;
        pixels_.resize(rows_.size() * cols_.size());
        for (std::size_t r = 0; r < rows_.size(); ++r)
            for (std::size_t c = 0; c < cols_.size(); ++c) {
                const float value = image[(top_ + r) * n_cols + left_ + c];
                if (!std::isfinite(value)) return false;
                pixels_[r * cols_.size() + c] = static_cast<double>(value);
            }
        return true;
    }

    /// Background: median of the pixels; intensity: the sum of what is above it.
    Parameters start(double y, double x) {
        sorted_ = pixels_;
        const std::size_t half = sorted_.size() / 2;
        std::nth_element(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(half),
                         sorted_.end());
        const double background = sorted_[half];
        double intensity = 0.0;
        for (const double value : pixels_) intensity += value - background;
        const double least = options_.poisson ? kLeast : -std::numeric_limits<double>::infinity();
        return {y, x, options_.sigma, std::max(intensity, 1.0), std::max(background, least)};
    }

    Equations equations(const Parameters& p) {
        tabulate(p[kY], p[kSigma], top_, rows_);
        tabulate(p[kX], p[kSigma], left_, cols_);
        Equations result;
        const double read = options_.read_variance;
        const double* pixel = pixels_.data();
        for (const Share& row : rows_)
            for (const Share& col : cols_) {
                const double share = row.value * col.value;
                const double model = p[kBackground] + p[kIntensity] * share;
                const Parameters slope = {
                    p[kIntensity] * row.by_place * col.value,
                    p[kIntensity] * row.value * col.by_place,
                    p[kIntensity] * (row.by_sigma * col.value + row.value * col.by_sigma), share,
                    1.0};
                const double residual = *pixel - model;
                const double variance = std::max(model + read, kLeast);
                double weight = 1.0;
                if (options_.poisson) {
                    // Read noise counts as additional photons (Huang et al., Nature Methods 2013).
                    const double seen = std::max(*pixel + read, 0.0);
                    weight = 1.0 / variance;
                    result.cost += 2.0 * (variance - seen);
                    if (seen > 0.0) result.cost += 2.0 * seen * std::log(seen / variance);
                } else {
                    result.cost += residual * residual;
                }
                result.chi_square += residual * residual / variance;
                for (std::size_t i = 0; i < kSize; ++i) {
                    const double weighted = weight * slope[i];
                    result.b[i] += weighted * residual;
                    for (std::size_t j = 0; j <= i; ++j) result.a[i][j] += weighted * slope[j];
                    if (!options_.poisson)
                        for (std::size_t j = 0; j <= i; ++j)
                            result.by_variance[i][j] += variance * slope[i] * slope[j];
                }
                ++pixel;
            }
        for (std::size_t i = 0; i < kSize; ++i)
            for (std::size_t j = i + 1; j < kSize; ++j) {
                result.a[i][j] = result.a[j][i];
                result.by_variance[i][j] = result.by_variance[j][i];
            }
        return result;
    }

    /// Whether the spot is still inside its window, with a plausible width and intensity.
    bool holds(const Parameters& p) const {
        const double bottom = static_cast<double>(top_ + rows_.size()) - 0.5;
        const double right = static_cast<double>(left_ + cols_.size()) - 0.5;
        return p[kY] > static_cast<double>(top_) - 0.5 && p[kY] < bottom &&
               p[kX] > static_cast<double>(left_) - 0.5 && p[kX] < right && p[kSigma] > kMinSigma &&
               p[kSigma] < max_sigma() && p[kIntensity] > kLeast;
    }

    SpotFit described(const Parameters& p, const Equations& now, const Matrix& covariance) const {
        Parameters error{};
        for (std::size_t i = 0; i < kSize; ++i) {
            double variance = covariance[i][i];
            if (!options_.poisson) {
                variance = 0.0;
                for (std::size_t j = 0; j < kSize; ++j)
                    for (std::size_t k = 0; k < kSize; ++k)
                        variance += covariance[i][j] * now.by_variance[j][k] * covariance[k][i];
            }
            error[i] = std::sqrt(variance);
        }
        const double freedom = static_cast<double>(pixels_.size() - kSize);
        return {p[kY],
                p[kX],
                p[kSigma],
                p[kIntensity],
                p[kBackground],
                error[kY],
                error[kX],
                error[kSigma],
                error[kIntensity],
                error[kBackground],
                now.chi_square / freedom};
    }

    SpotFitOptions options_;
    std::size_t top_ = 0, left_ = 0;
    std::vector<Share> rows_, cols_;
    std::vector<double> pixels_, sorted_;
};

}  // namespace

std::vector<SpotFit> fit_spots(const float* image, std::size_t n_rows, std::size_t n_cols,
                               const double* points, std::size_t n_points,
                               const SpotFitOptions& options) {
    std::vector<SpotFit> result(n_points);
    const auto work = [&](std::size_t first, std::size_t last) {
        Fitter fitter(options);
        for (std::size_t i = first; i < last; ++i)
            result[i] = fitter.run(image, n_rows, n_cols, points[2 * i], points[2 * i + 1]);
    };
    const std::size_t n_threads = std::clamp<std::size_t>(options.n_threads, 1, n_points / 64 + 1);
    std::vector<std::thread> threads;
    for (std::size_t t = 1; t < n_threads; ++t)
        threads.emplace_back(work, n_points * t / n_threads, n_points * (t + 1) / n_threads);
    work(0, n_points / n_threads);
    for (std::thread& thread : threads) thread.join();
    return result;
}

}  // namespace blinkcore
