#include "decode.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace blinkcore {
namespace {

/// Smaller parts of a spot are not looked at. Not a share of the threshold: a spot's
/// position and probability must not depend on it.
constexpr double kSmallestPart = 0.02;

struct Claim {
    std::size_t row, col;
    Spot spot;
};

std::vector<Claim> collect_claims(const float* grid, bool has_error, std::size_t n_rows,
                                  std::size_t n_cols, const DecodeOptions& options, double least) {
    const std::size_t plane = n_rows * n_cols;
    const auto bound = static_cast<float>(least);
    std::vector<Claim> claims;
    for (std::size_t row = 0; row < n_rows; ++row) {
        for (std::size_t col = 0; col < n_cols; ++col) {
            const std::size_t cell = row * n_cols + col;
            if (!(grid[cell] > bound)) continue;
            const double y = (static_cast<double>(row) + static_cast<double>(grid[plane + cell])) *
                                 options.cell_size +
                             options.origin;
            const double x =
                (static_cast<double>(col) + static_cast<double>(grid[2 * plane + cell])) *
                    options.cell_size +
                options.origin;
            if (!std::isfinite(y) || !std::isfinite(x)) continue;
            const double error = has_error ? static_cast<double>(grid[3 * plane + cell])
                                           : std::numeric_limits<double>::quiet_NaN();
            claims.push_back({row, col, {y, x, static_cast<double>(grid[cell]), error}});
        }
    }
    return claims;
}

/// Claims are in row-major order: the first of a row is found by bisection.
std::size_t first_claim_at(const std::vector<Claim>& claims, std::size_t row, std::size_t col) {
    const auto it =
        std::lower_bound(claims.begin(), claims.end(), std::make_pair(row, col),
                         [](const Claim& claim, const std::pair<std::size_t, std::size_t>& at) {
                             return std::make_pair(claim.row, claim.col) < at;
                         });
    return static_cast<std::size_t>(it - claims.begin());
}

/// Add to `seed` every free claim of the eight cells around it that is close enough.
Spot absorb_neighbours(const std::vector<Claim>& claims, std::size_t seed, std::vector<char>& taken,
                       double merge_distance) {
    const Claim& centre = claims[seed];
    double weight = centre.spot.probability;
    double y = weight * centre.spot.y;
    double x = weight * centre.spot.x;
    double square = weight * centre.spot.error * centre.spot.error;
    const std::size_t first_row = centre.row == 0 ? 0 : centre.row - 1;
    const std::size_t first_col = centre.col == 0 ? 0 : centre.col - 1;
    for (std::size_t row = first_row; row <= centre.row + 1; ++row) {
        for (std::size_t i = first_claim_at(claims, row, first_col);
             i < claims.size() && claims[i].row == row && claims[i].col <= centre.col + 1; ++i) {
            if (taken[i]) continue;
            const Spot& other = claims[i].spot;
            if (std::hypot(other.y - centre.spot.y, other.x - centre.spot.x) >= merge_distance)
                continue;
            taken[i] = 1;
            weight += other.probability;
            y += other.probability * other.y;
            x += other.probability * other.x;
            square += other.probability * other.error * other.error;
        }
    }
    return {y / weight, x / weight, std::min(weight, 1.0), std::sqrt(square / weight)};
}

}  // namespace

std::vector<Spot> decode(const float* grid, bool has_error, std::size_t n_rows, std::size_t n_cols,
                         const DecodeOptions& options) {
    const bool merges = options.merge_distance > 0.0;
    const double least = merges ? std::min(options.threshold, kSmallestPart) : options.threshold;
    const std::vector<Claim> claims =
        collect_claims(grid, has_error, n_rows, n_cols, options, least);

    std::vector<std::size_t> order(claims.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return claims[a].spot.probability > claims[b].spot.probability;
    });

    std::vector<char> taken(claims.size(), 0);
    std::vector<char> kept(claims.size(), 0);
    std::vector<Spot> merged(claims.size());
    for (const std::size_t seed : order) {
        if (taken[seed]) continue;
        taken[seed] = 1;
        merged[seed] = merges ? absorb_neighbours(claims, seed, taken, options.merge_distance)
                              : claims[seed].spot;
        kept[seed] = merged[seed].probability > options.threshold;
    }

    std::vector<Spot> spots;
    for (std::size_t i = 0; i < claims.size(); ++i)
        if (kept[i]) spots.push_back(merged[i]);
    return spots;
}

}  // namespace blinkcore
