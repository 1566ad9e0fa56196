#include "fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "pixel_gaussian.hpp"
#include "positive_definite.hpp"

namespace blinkcore {
namespace {

constexpr int kMaxSteps = 40;
constexpr double kSmallStep = 1e-3;  // px, and shares of the intensity; see is_small
constexpr double kMinSigma = 0.3;    // px
constexpr double kLeast = 1e-3;      // photons; lower limit of what must be positive
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kTwoPi = 6.283185307179586;

/// What is minimized, and the equations of a step.
struct Equations {
    double cost = 0.0;
    double chi_square = 0.0;
    Matrix a{};  // weighted products of derivatives
    Parameters b{};
};

class Fitter {
   public:
    explicit Fitter(const SpotFitOptions& options) : options_(options) {}

    SpotFit run(const float* image, std::size_t n_rows, std::size_t n_cols, double y, double x) {
        const SpotFit failed{kNaN, kNaN, kNaN, kNaN, kNaN, kNaN,
                             kNaN, kNaN, kNaN, kNaN, kNaN, kNaN};
        if (!cut(image, n_rows, n_cols, y, x)) return failed;
        Parameters p = start(y, x);
        prepare();
        Equations now = equations(p);
        double damping = 1e-2;
        bool converged = false;
        for (int step = 0; step < kMaxSteps; ++step) {
            Matrix damped = now.a;
            for (std::size_t i = 0; i < kSize; ++i) damped[i][i] *= 1.0 + damping;
            const auto lower = cholesky(damped);
            if (!lower) return failed;
            const Parameters change = solve(*lower, now.b);
            const Parameters next = moved(p, change);
            converged = damping <= 1.0 && is_small(change, p[kIntensity]);
            if (converged) {
                p = next;
                break;
            }
            const Equations then = equations(next);
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
        return described(p, now, options_.poisson ? *covariance : propagated(p, *covariance));
    }

   private:
    /// Whether a step is the last one: what remains after it is below a hundredth of the standard
    /// errors.
    static bool is_small(const Parameters& change, double intensity) {
        return std::max({std::abs(change[kY]), std::abs(change[kX]), std::abs(change[kSigma]),
                         std::abs(change[kIntensity]) / intensity}) < kSmallStep;
    }

    Parameters moved(const Parameters& p, const Parameters& change) const {
        Parameters next = p;
        for (std::size_t i = 0; i < kSize; ++i) next[i] += change[i];
        next[kSigma] = std::clamp(next[kSigma], kMinSigma, 2.0 * max_sigma());
        next[kIntensity] = std::max(next[kIntensity], kLeast);
        if (options_.poisson) next[kBackground] = std::max(next[kBackground], kLeast);
        return next;
    }

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
                const double counts = image[(top_ + r) * n_cols + left_ + c];
                const double photons = (counts - options_.offset) / options_.gain;
                if (!std::isfinite(photons)) return false;
                pixels_[r * cols_.size() + c] = photons;
            }
        return true;
    }

    /// Intensity and background that fit best, by least squares, at this place with the usual
    /// width.
    Parameters start(double y, double x) {
        tabulate(y, options_.sigma, top_, rows_);
        tabulate(x, options_.sigma, left_, cols_);
        double light = 0.0, squared = 0.0, seen = 0.0, product = 0.0;
        const double* pixel = pixels_.data();
        for (const Share& row : rows_)
            for (const Share& col : cols_) {
                const double share = row.value * col.value;
                light += share;
                squared += share * share;
                seen += *pixel;
                product += share * *pixel++;
            }
        const double n = static_cast<double>(pixels_.size());
        const double slope = (n * product - light * seen) / (n * squared - light * light);
        const double intensity = slope > 1.0 ? slope : 1.0;  // 1 for NaN, too
        const double least = options_.poisson ? kLeast : -std::numeric_limits<double>::infinity();
        return {y, x, options_.sigma, intensity, std::max((seen - intensity * light) / n, least)};
    }

    /// Compute what of the deviance does not depend on the model.
    void prepare() {
        variances_.resize(pixels_.size());
        seen_.resize(pixels_.size());
        constant_ = 0.0;
        if (!options_.poisson) return;
        for (std::size_t i = 0; i < pixels_.size(); ++i) {
            // Read noise counts as additional photons (Huang et al., Nature Methods 2013).
            seen_[i] = std::max(pixels_[i] + options_.read_variance, 0.0);
            if (seen_[i] > 0.0) constant_ += seen_[i] * (std::log(seen_[i]) - 1.0);
        }
    }

    Equations equations(const Parameters& p) {
        tabulate(p[kY], p[kSigma], top_, rows_);
        tabulate(p[kX], p[kSigma], left_, cols_);
        products_.resize(cols_.size());
        std::transform(cols_.begin(), cols_.end(), products_.begin(), products);
        Equations result;
        const std::size_t n_cols = cols_.size();
        for (std::size_t r = 0; r < rows_.size(); ++r) {
            const double light = p[kIntensity] * rows_[r].value;
            const double* pixels = pixels_.data() + r * n_cols;
            double* variances = variances_.data() + r * n_cols;
            RowSums sums;
            for (std::size_t c = 0; c < n_cols; ++c) {
                const double model = p[kBackground] + light * cols_[c].value;
                const double residual = pixels[c] - model;
                variances[c] = std::max(model + options_.read_variance, kLeast);
                const double precision = 1.0 / variances[c];
                result.chi_square += residual * residual * precision;
                if (!options_.poisson) result.cost += residual * residual;
                sums.add(products_[c], options_.poisson ? precision : 1.0, residual);
            }
            sums.add_to(result.a, rows_[r], p[kIntensity]);
            sums.add_to(result.b, rows_[r], p[kIntensity]);
        }
        mirror(result.a);
        if (options_.poisson) result.cost = deviance();
        return result;
    }

    /// Twice the log likelihood ratio of the pixels themselves and of the model.
    double deviance() const {
        double sum = constant_;
        for (std::size_t i = 0; i < pixels_.size(); ++i)
            sum += variances_[i] - seen_[i] * std::log(variances_[i]);
        return 2.0 * sum;
    }

    /// Covariance of a least-squares fit: what photon noise does to it.
    Matrix propagated(const Parameters& p, const Matrix& inverse_a) {
        tabulate(p[kY], p[kSigma], top_, rows_);
        tabulate(p[kX], p[kSigma], left_, cols_);
        Matrix noise{};
        for (const Share& row : rows_) {
            RowSums sums;
            for (const Share& col : cols_) {
                const double model = p[kBackground] + p[kIntensity] * row.value * col.value;
                sums.add(products(col), std::max(model + options_.read_variance, kLeast), 0.0);
            }
            sums.add_to(noise, row, p[kIntensity]);
        }
        mirror(noise);
        Matrix result{};
        for (std::size_t i = 0; i < kSize; ++i)
            for (std::size_t l = 0; l < kSize; ++l)
                for (std::size_t j = 0; j < kSize; ++j)
                    for (std::size_t k = 0; k < kSize; ++k)
                        result[i][l] += inverse_a[i][j] * noise[j][k] * inverse_a[k][l];
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
        const auto error = [&](std::size_t i) { return std::sqrt(covariance[i][i]); };
        // Relative variance of intensity / (2 pi sigma^2), by propagation of the errors.
        const double by_intensity = 1.0 / p[kIntensity], by_sigma = -2.0 / p[kSigma];
        const double relative = by_intensity * by_intensity * covariance[kIntensity][kIntensity] +
                                2.0 * by_intensity * by_sigma * covariance[kIntensity][kSigma] +
                                by_sigma * by_sigma * covariance[kSigma][kSigma];
        const double amplitude = p[kIntensity] / (kTwoPi * p[kSigma] * p[kSigma]);
        const double freedom = static_cast<double>(pixels_.size() - kSize);
        return {p[kY],
                p[kX],
                p[kSigma],
                p[kIntensity],
                p[kBackground],
                error(kY),
                error(kX),
                error(kSigma),
                error(kIntensity),
                error(kBackground),
                amplitude * std::sqrt(std::max(relative, 0.0)),
                now.chi_square / freedom};
    }

    SpotFitOptions options_;
    std::size_t top_ = 0, left_ = 0;
    std::vector<Share> rows_, cols_;
    std::vector<Products> products_;  // of the columns
    std::vector<double> pixels_, seen_, variances_;
    double constant_ = 0.0;
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
