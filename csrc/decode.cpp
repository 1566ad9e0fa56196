#include "decode.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace blinkcore {
namespace {

/// Cells with a smaller probability are not candidates. The limit is not a share of the
/// threshold, because a spot's position and probability must not depend on that.
constexpr double kMinCandidate = 0.02;

struct Candidate {
    std::size_t row, col;
    Spot spot;
};

/// Candidates in row-major order.
std::vector<Candidate> collect_candidates(const float* grid, bool has_error, std::size_t n_rows,
                                          std::size_t n_cols, const DecodeOptions& options,
                                          double min_probability) {
    const std::size_t plane = n_rows * n_cols;
    const auto bound = static_cast<float>(min_probability);
    std::vector<Candidate> candidates;
    for (std::size_t row = 0; row < n_rows; ++row) {
        for (std::size_t col = 0; col < n_cols; ++col) {
            const std::size_t cell = row * n_cols + col;
            if (!(grid[cell] > bound)) continue;
            if (grid[cell] > 1.0f)
                throw std::invalid_argument("grid must hold probabilities in [0, 1], got " +
                                            std::to_string(grid[cell]));
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
            candidates.push_back({row, col, {y, x, static_cast<double>(grid[cell]), error}});
        }
    }
    return candidates;
}

/// Candidates from the strongest to the weakest; equal ones in the order of the grid.
std::vector<std::size_t> strongest_first(const std::vector<Candidate>& candidates) {
    std::vector<std::pair<double, std::size_t>> keys;  // beside each other in memory
    keys.reserve(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i)
        keys.emplace_back(-candidates[i].spot.probability, i);
    std::sort(keys.begin(), keys.end());
    std::vector<std::size_t> order;
    order.reserve(candidates.size());
    for (const auto& key : keys) order.push_back(key.second);
    return order;
}

/// Merges the candidates of neighbouring cells that are one spot.
class Merger {
   public:
    Merger(const std::vector<Candidate>& candidates, std::size_t n_rows, std::size_t n_cols,
           double merge_distance)
        : candidates_(candidates),
          n_rows_(n_rows),
          n_cols_(n_cols),
          square_distance_(merge_distance * merge_distance),
          free_candidate_(n_rows * n_cols, kNone) {
        for (std::size_t i = 0; i < candidates.size(); ++i)
            free_candidate_[candidates[i].row * n_cols + candidates[i].col] = i;
    }

    bool is_free(std::size_t candidate) const {
        return free_candidate_[cell_of(candidates_[candidate])] != kNone;
    }

    /// Merge a candidate with every free one of the eight cells around it that is close enough.
    Spot merge_neighbours(std::size_t candidate) {
        const Candidate& centre = candidates_[candidate];
        free_candidate_[cell_of(centre)] = kNone;
        double weight = centre.spot.probability;
        double y = weight * centre.spot.y;
        double x = weight * centre.spot.x;
        double squared_error = weight * centre.spot.error * centre.spot.error;
        const std::size_t top_row = centre.row == 0 ? 0 : centre.row - 1;
        const std::size_t left_col = centre.col == 0 ? 0 : centre.col - 1;
        for (std::size_t row = top_row; row < std::min(centre.row + 2, n_rows_); ++row) {
            for (std::size_t col = left_col; col < std::min(centre.col + 2, n_cols_); ++col) {
                std::size_t& other = free_candidate_[row * n_cols_ + col];
                if (other == kNone) continue;
                const Spot& spot = candidates_[other].spot;
                const double dy = spot.y - centre.spot.y;
                const double dx = spot.x - centre.spot.x;
                if (dy * dy + dx * dx >= square_distance_) continue;
                other = kNone;
                weight += spot.probability;
                y += spot.probability * spot.y;
                x += spot.probability * spot.x;
                squared_error += spot.probability * spot.error * spot.error;
            }
        }
        return {y / weight, x / weight, std::min(weight, 1.0), std::sqrt(squared_error / weight)};
    }

   private:
    static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

    std::size_t cell_of(const Candidate& candidate) const {
        return candidate.row * n_cols_ + candidate.col;
    }

    const std::vector<Candidate>& candidates_;
    std::size_t n_rows_, n_cols_;
    double square_distance_;
    std::vector<std::size_t> free_candidate_;  ///< of each cell
};

}  // namespace

std::vector<Spot> decode(const float* grid, bool has_error, std::size_t n_rows, std::size_t n_cols,
                         const DecodeOptions& options) {
    std::vector<Spot> spots;
    if (!(options.merge_distance > 0.0)) {
        for (const Candidate& candidate :
             collect_candidates(grid, has_error, n_rows, n_cols, options, options.threshold))
            spots.push_back(candidate.spot);
        return spots;
    }
    const double min_probability = std::min(options.threshold, kMinCandidate);
    const std::vector<Candidate> candidates =
        collect_candidates(grid, has_error, n_rows, n_cols, options, min_probability);
    Merger merger(candidates, n_rows, n_cols, options.merge_distance);
    // The probability stays 0 where the candidate is part of another spot.
    std::vector<Spot> merged(candidates.size());
    for (const std::size_t i : strongest_first(candidates))
        if (merger.is_free(i)) merged[i] = merger.merge_neighbours(i);
    for (const Spot& spot : merged)
        if (spot.probability > options.threshold) spots.push_back(spot);
    return spots;
}

}  // namespace blinkcore
