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
constexpr double kSmallStep = 1e-3;  // px, and shares of the intensity; see is_small
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

/// Cholesky's decomposition of a positive definite matrix: the lower triangle L of L L^T.
std::optional<Matrix> cholesky(const Matrix& a) {
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
    return lower;
}

/// The solution z of L L^T z = b.
Parameters solve(const Matrix& lower, Parameters b) {
    for (std::size_t i = 0; i < kSize; ++i) {
        for (std::size_t k = 0; k < i; ++k) b[i] -= lower[i][k] * b[k];
        b[i] /= lower[i][i];
    }
    for (std::size_t i = kSize; i-- > 0;) {
        for (std::size_t k = i + 1; k < kSize; ++k) b[i] -= lower[k][i] * b[k];
        b[i] /= lower[i][i];
    }
    return b;
}

std::optional<Matrix> inverse(const Matrix& a) {
    const auto lower = cholesky(a);
    if (!lower) return std::nullopt;
    Matrix result{};
    for (std::size_t column = 0; column < kSize; ++column) {
        Parameters unit{};
        unit[column] = 1.0;
        result[column] = solve(*lower, unit);  // the inverse is symmetric
    }
    return result;
}

/// What is minimized, and the equations of a step.
struct Equations {
    double cost = 0.0;
    double chi_square = 0.0;
    Matrix a{};  // weighted products of derivatives
    Parameters b{};
};

/// What a column contributes to the model (V) and to its derivatives by position (P) and sigma (S),
/// 1 for the background, and products of two of them.
enum Product : std::size_t { kV, kP, kS, kOne, kVV, kVP, kVS, kPP, kPS, kSS, kProducts };
using Products = std::array<double, kProducts>;

Products products(const Share& s) {
    return {s.value,
            s.by_place,
            s.by_sigma,
            1.0,
            s.value * s.value,
            s.value * s.by_place,
            s.value * s.by_sigma,
            s.by_place * s.by_place,
            s.by_place * s.by_sigma,
            s.by_sigma * s.by_sigma};
}

/// Weighted sums over the columns of one row. The model's derivatives are products of a factor of
/// the row and one of the column, so these are all that a row contributes.
struct RowSums {
    Products of{};
    std::array<double, kOne + 1> residual{};  // times the residual

    void add(const Products& col, double weight, double difference) {
        for (std::size_t i = 0; i < kProducts; ++i) of[i] += weight * col[i];
        const double weighted = weight * difference;
        for (std::size_t i = 0; i <= kOne; ++i) residual[i] += weighted * col[i];
    }

    /// Add the products of the derivatives by y, x, sigma, intensity and background.
    void add_to(Matrix& a, const Share& row, double intensity) const {
        const double iv = intensity * row.value, ip = intensity * row.by_place;
        const double is = intensity * row.by_sigma;
        const double sigma_v =
            is * of[kVV] + iv * of[kVS];  // of the derivative by sigma, with `value`
        a[kY][kY] += ip * ip * of[kVV];
        a[kX][kY] += iv * ip * of[kVP];
        a[kX][kX] += iv * iv * of[kPP];
        a[kSigma][kY] += ip * sigma_v;
        a[kSigma][kX] += iv * (is * of[kVP] + iv * of[kPS]);
        a[kSigma][kSigma] += is * sigma_v + iv * (is * of[kVS] + iv * of[kSS]);
        a[kIntensity][kY] += ip * row.value * of[kVV];
        a[kIntensity][kX] += iv * row.value * of[kVP];
        a[kIntensity][kSigma] += row.value * sigma_v;
        a[kIntensity][kIntensity] += row.value * row.value * of[kVV];
        a[kBackground][kY] += ip * of[kV];
        a[kBackground][kX] += iv * of[kP];
        a[kBackground][kSigma] += is * of[kV] + iv * of[kS];
        a[kBackground][kIntensity] += row.value * of[kV];
        a[kBackground][kBackground] += of[kOne];
    }

    void add_to(Parameters& b, const Share& row, double intensity) const {
        b[kY] += intensity * row.by_place * residual[kV];
        b[kX] += intensity * row.value * residual[kP];
        b[kSigma] += intensity * (row.by_sigma * residual[kV] + row.value * residual[kS]);
        b[kIntensity] += row.value * residual[kV];
        b[kBackground] += residual[kOne];
    }
};

void mirror(Matrix& a) {
    for (std::size_t i = 0; i < kSize; ++i)
        for (std::size_t j = i + 1; j < kSize; ++j) a[i][j] = a[j][i];
}

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
        const double intensity = std::max(slope, 1.0);  // NaN, too
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
        const double amplitude = p[kIntensity] / (kRoot2Pi * kRoot2Pi * p[kSigma] * p[kSigma]);
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
