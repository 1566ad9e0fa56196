// How many pairs an optimal matching has at each of several cutoffs.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "match.hpp"
#include "spatial_hash.hpp"

namespace blinkcore {
namespace {

/// Kuhn's augmenting paths, without recursion. What a failed search visited can never be
/// part of a later path at the same cutoff, so all failures together cost one pass.
class IncrementalMatching {
   public:
    IncrementalMatching(std::size_t n_rows, std::size_t n_columns)
        : column_of_(n_rows, kNone), row_of_(n_columns, kNone), from_(n_columns, kNone) {}

    std::int64_t grow(const std::vector<Point>& rows, const SpatialHash& hash) {
        visited_.assign(row_of_.size(), 0);
        for (Index row = 0; row < rows.size(); ++row)
            if (column_of_[row] == kNone && search(row, rows, hash)) ++n_pairs_;
        return n_pairs_;
    }

   private:
    bool search(Index row, const std::vector<Point>& rows, const SpatialHash& hash) {
        frontier_.assign(1, row);
        seen_.clear();
        while (!frontier_.empty()) {
            const Index i = frontier_.back();
            frontier_.pop_back();
            Index end = kNone;
            hash.any_near(rows[i], [&](Index column, double) {
                if (visited_[column]) return false;
                visited_[column] = 1;
                seen_.push_back(column);
                from_[column] = i;
                if (row_of_[column] == kNone) {
                    end = column;
                    return true;
                }
                frontier_.push_back(row_of_[column]);
                return false;
            });
            if (end == kNone) continue;
            while (end != kNone) {
                const Index owner = from_[end];
                row_of_[end] = owner;
                std::swap(column_of_[owner], end);
            }
            for (const Index column : seen_) visited_[column] = 0;
            return true;
        }
        return false;
    }

    std::vector<Index> column_of_, row_of_, from_, frontier_, seen_;
    std::vector<char> visited_;
    std::int64_t n_pairs_ = 0;
};

}  // namespace

std::vector<std::int64_t> count_matches(const std::vector<Point>& truth,
                                        const std::vector<Point>& detected,
                                        const std::vector<double>& cutoffs) {
    IncrementalMatching matching(truth.size(), detected.size());
    std::vector<std::int64_t> counts;
    counts.reserve(cutoffs.size());
    for (const double cutoff : cutoffs)
        counts.push_back(matching.grow(truth, SpatialHash(detected, cutoff)));
    return counts;
}

}  // namespace blinkcore
