#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "positive_definite.hpp"

namespace blinkcore {

/// Parameters of a round Gaussian that is integrated over the pixels, on a flat background.
inline constexpr std::size_t kY = 0, kX = 1, kSigma = 2, kIntensity = 3, kBackground = 4, kSize = 5;
using Parameters = Vector<kSize>;
using Matrix = SquareMatrix<kSize>;

inline constexpr double kRoot2 = 1.4142135623730951, kRoot2Pi = 2.5066282746310002;

/// Share of the light in a row or column, and its derivatives by position and by sigma.
struct Share {
    double value, by_place, by_sigma;
};

/// Tabulate the shares of the rows or columns from `first` on, as many as the table has.
inline void tabulate(double centre, double sigma, std::size_t first, std::vector<Share>& table) {
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

/// What a column contributes to the model (V) and to its derivatives by position (P) and sigma (S),
/// 1 for the background, and products of two of them.
enum Product : std::size_t { kV, kP, kS, kOne, kVV, kVP, kVS, kPP, kPS, kSS, kProducts };
using Products = std::array<double, kProducts>;

inline Products products(const Share& s) {
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
    std::array<double, kVV> residual{};  // of the first four, times the residual

    void add(const Products& col, double weight, double difference) {
        for (std::size_t i = 0; i < kProducts; ++i) of[i] += weight * col[i];
        const double weighted = weight * difference;
        for (std::size_t i = 0; i < residual.size(); ++i) residual[i] += weighted * col[i];
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

inline void mirror(Matrix& a) {
    for (std::size_t i = 0; i < kSize; ++i)
        for (std::size_t j = i + 1; j < kSize; ++j) a[i][j] = a[j][i];
}

}  // namespace blinkcore
