#include "decode.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
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

/// Claims in row-major order.
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

/// Claims from the strongest to the weakest; of equal ones the first in the grid is first.
std::vector<std::size_t> strongest_first(const std::vector<Claim>& claims) {
    std::vector<std::pair<double, std::size_t>> keys;  // beside each other in memory
    keys.reserve(claims.size());
    for (std::size_t i = 0; i < claims.size(); ++i)
        keys.emplace_back(-claims[i].spot.probability, i);
    std::sort(keys.begin(), keys.end());
    std::vector<std::size_t> order;
    order.reserve(claims.size());
    for (const auto& key : keys) order.push_back(key.second);
    return order;
}

/// Adds up the claims that are one spot.
class Merger {
   public:
    Merger(const std::vector<Claim>& claims, std::size_t n_rows, std::size_t n_cols,
           double merge_distance)
        : claims_(claims),
          n_rows_(n_rows),
          n_cols_(n_cols),
          square_distance_(merge_distance * merge_distance),
          free_claim_(n_rows * n_cols, kNone) {
        for (std::size_t i = 0; i < claims.size(); ++i)
            free_claim_[claims[i].row * n_cols + claims[i].col] = i;
    }

    bool is_free(std::size_t claim) const { return free_claim_[cell_of(claims_[claim])] != kNone; }

    /// Take a claim, and every free one of the eight cells around it that is close enough.
    Spot take(std::size_t claim) {
        const Claim& centre = claims_[claim];
        free_claim_[cell_of(centre)] = kNone;
        double weight = centre.spot.probability;
        double y = weight * centre.spot.y;
        double x = weight * centre.spot.x;
        double square = weight * centre.spot.error * centre.spot.error;
        const std::size_t first_row = centre.row == 0 ? 0 : centre.row - 1;
        const std::size_t first_col = centre.col == 0 ? 0 : centre.col - 1;
        for (std::size_t row = first_row; row < std::min(centre.row + 2, n_rows_); ++row) {
            for (std::size_t col = first_col; col < std::min(centre.col + 2, n_cols_); ++col) {
                std::size_t& other = free_claim_[row * n_cols_ + col];
                if (other == kNone) continue;
                const Spot& spot = claims_[other].spot;
                const double dy = spot.y - centre.spot.y;
                const double dx = spot.x - centre.spot.x;
                if (dy * dy + dx * dx >= square_distance_) continue;
                other = kNone;
                weight += spot.probability;
                y += spot.probability * spot.y;
                x += spot.probability * spot.x;
                square += spot.probability * spot.error * spot.error;
            }
        }
        return {y / weight, x / weight, std::min(weight, 1.0), std::sqrt(square / weight)};
    }

   private:
    static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

    std::size_t cell_of(const Claim& claim) const { return claim.row * n_cols_ + claim.col; }

    const std::vector<Claim>& claims_;
    std::size_t n_rows_, n_cols_;
    double square_distance_;
    std::vector<std::size_t> free_claim_;  ///< of each cell
};

}  // namespace

std::vector<Spot> decode(const float* grid, bool has_error, std::size_t n_rows, std::size_t n_cols,
                         const DecodeOptions& options) {
    std::vector<Spot> spots;
    if (!(options.merge_distance > 0.0)) {
        for (const Claim& claim :
             collect_claims(grid, has_error, n_rows, n_cols, options, options.threshold))
            spots.push_back(claim.spot);
        return spots;
    }
    const double least = std::min(options.threshold, kSmallestPart);
    const std::vector<Claim> claims =
        collect_claims(grid, has_error, n_rows, n_cols, options, least);
    Merger merger(claims, n_rows, n_cols, options.merge_distance);
    std::vector<Spot> merged(claims.size());  // of probability 0 where another took the claim
    for (const std::size_t i : strongest_first(claims))
        if (merger.is_free(i)) merged[i] = merger.take(i);
    for (const Spot& spot : merged)
        if (spot.probability > options.threshold) spots.push_back(spot);
    return spots;
}

}  // namespace blinkcore
