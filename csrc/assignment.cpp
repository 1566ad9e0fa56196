// The optimal matching: components, then shortest augmenting paths in each
// (Jonker and Volgenant 1987, doi:10.1007/BF02278710).
#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>
#include <vector>

#include "match.hpp"
#include "spatial_hash.hpp"

namespace blinkcore {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Union-find over truth (0 .. n - 1) and detected (n ..).
class Components {
   public:
    explicit Components(std::size_t n) : parent_(n) {
        std::iota(parent_.begin(), parent_.end(), Index{0});
    }
    Index root(Index i) {
        while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
        return i;
    }
    void join(Index a, Index b) {
        a = root(a);
        b = root(b);
        if (a != b) parent_[std::max(a, b)] = std::min(a, b);
    }

   private:
    std::vector<Index> parent_;
};

/// Shortest augmenting paths for the rows of one component at a time; the state of all
/// columns is allocated once. A row without a partner pays `unmatched`, which is more than
/// any set of pairs can save, so that the number of pairs comes first.
class Assignment {
   public:
    Assignment(const std::vector<Point>& rows, const std::vector<Point>& columns, double cutoff)
        : rows_(rows),
          hash_(columns, cutoff),
          row_price_(rows.size(), 0.0),
          column_price_(columns.size(), 0.0),
          length_(columns.size(), kInfinity),
          column_of_(rows.size(), kNone),
          row_of_(columns.size(), kNone),
          from_(columns.size(), kNone),
          done_(columns.size(), 0) {}

    /// Augmenting row reduction: a row takes the column that is best for it, at a price
    /// that leaves it just as well off as with its second best. The row that had the column
    /// before continues the search. This is cheap and leaves few rows for `augment_row`.
    void reduce_row(Index row, double unmatched) {
        for (int n_turns = 0; row != kNone && n_turns < 64; ++n_turns) {
            double best = unmatched;
            double second = unmatched;
            Index column = kNone;
            hash_.each_near(rows_[row], [&](Index j, double d) {
                const double cost = d - column_price_[j];
                if (cost < best) {
                    second = best;
                    best = cost;
                    column = j;
                } else {
                    second = std::min(second, cost);
                }
            });
            if (column == kNone) return;
            const Index loser = row_of_[column];
            if (loser != kNone && !(best < second)) return;
            column_price_[column] -= second - best;
            row_price_[row] = second;
            column_of_[row] = column;
            row_of_[column] = row;
            if (loser != kNone) {
                column_of_[loser] = kNone;
                row_price_[loser] = 0.0;
            }
            row = loser;
        }
    }

    /// Find the shortest augmenting path of a row (Dijkstra on reduced costs) and follow it.
    void augment_row(Index row, double unmatched) {
        if (column_of_[row] != kNone) return;
        queue_ = {};
        reached_.clear();
        scanned_.clear();
        bound_ = kInfinity;
        double length = 0.0;
        double give_up = kInfinity;
        Index loser = kNone;
        Index last = kNone;
        for (Index i = row;;) {
            scanned_.emplace_back(i, length);
            if (length + unmatched - row_price_[i] < give_up) {
                give_up = length + unmatched - row_price_[i];
                loser = i;
                bound_ = std::min(bound_, give_up);
            }
            relax(i, length);
            const Index column = next_column();
            if (column == kNone || length_[column] >= give_up) {
                length = give_up;
                break;
            }
            length = length_[column];
            done_[column] = 1;
            if (row_of_[column] == kNone) {
                last = column;
                break;
            }
            i = row_of_[column];
        }
        update_prices(length);
        augment(row, last, loser);
        for (const Index column : reached_) {
            length_[column] = kInfinity;
            done_[column] = 0;
        }
    }

    const std::vector<Index>& column_of() const { return column_of_; }

   private:
    void relax(Index row, double length) {
        hash_.each_near(rows_[row], [&](Index column, double d) {
            if (done_[column]) return;
            const double candidate = length + d - row_price_[row] - column_price_[column];
            if (!(candidate < length_[column]) || !(candidate < bound_)) return;
            if (row_of_[column] == kNone) bound_ = candidate;  // no longer path can win
            if (length_[column] == kInfinity) reached_.push_back(column);
            length_[column] = candidate;
            from_[column] = row;
            queue_.emplace(candidate, column);
        });
    }
    Index next_column() {
        while (!queue_.empty()) {
            const auto [length, column] = queue_.top();
            queue_.pop();
            if (!done_[column] && length == length_[column]) return column;
        }
        return kNone;
    }
    void update_prices(double length) {
        for (const auto& [row, reached_at] : scanned_) row_price_[row] += length - reached_at;
        for (const Index column : reached_)
            if (done_[column]) column_price_[column] -= length - length_[column];
    }
    /// Shift the pairs along the path that ends in the free column `last`, or, if there is
    /// none, in `loser`, which gives up its column.
    void augment(Index row, Index last, Index loser) {
        Index column = last;
        if (last == kNone) {
            if (loser == row) return;
            column = column_of_[loser];
            column_of_[loser] = kNone;
        }
        for (;;) {
            const Index owner = from_[column];
            row_of_[column] = owner;
            std::swap(column_of_[owner], column);
            if (owner == row) return;
        }
    }

    const std::vector<Point>& rows_;
    SpatialHash hash_;
    std::vector<double> row_price_, column_price_, length_;
    std::vector<Index> column_of_, row_of_, from_;
    std::vector<char> done_;
    double bound_ = kInfinity;
    std::vector<Index> reached_;
    std::vector<std::pair<Index, double>> scanned_;
    using Entry = std::pair<double, Index>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
};

/// Number of points on each side of a component, by its root.
struct Sizes {
    std::vector<Index> truth, detected;
};

Sizes component_sizes(Components& components, std::size_t n_truth, std::size_t n_detected) {
    const std::size_t n = n_truth + n_detected;
    Sizes sizes{std::vector<Index>(n, 0), std::vector<Index>(n, 0)};
    for (Index i = 0; i < n; ++i)
        ++(i < n_truth ? sizes.truth : sizes.detected)[components.root(i)];
    return sizes;
}

}  // namespace

std::vector<Pair> match(const std::vector<Point>& truth, const std::vector<Point>& detected,
                        double cutoff) {
    const auto n_truth = static_cast<Index>(truth.size());
    Components components(truth.size() + detected.size());
    {
        const SpatialHash hash(detected, cutoff);
        for (Index i = 0; i < n_truth; ++i)
            hash.each_near(truth[i], [&](Index j, double) { components.join(i, n_truth + j); });
    }
    const Sizes sizes = component_sizes(components, truth.size(), detected.size());
    // In units of the cutoff, so that it is exact for cutoffs of any size.
    const double unit = cutoff > 0.0 ? cutoff : 1.0;
    const auto unmatched = [&](Index root) {
        return unit * (2.0 + std::min(sizes.truth[root], sizes.detected[root]));
    };
    // The smaller side of a component provides the rows: then few of them stay without a
    // partner, and only for those must a search visit the whole component.
    std::vector<Index> truth_rows, detected_rows;
    for (Index i = 0; i < n_truth; ++i) {
        const Index root = components.root(i);
        if (sizes.detected[root] > 0 && sizes.truth[root] <= sizes.detected[root])
            truth_rows.push_back(i);
    }
    for (Index j = 0; j < detected.size(); ++j) {
        const Index root = components.root(n_truth + j);
        if (sizes.truth[root] > sizes.detected[root]) detected_rows.push_back(j);
    }
    const auto assign = [&](const std::vector<Point>& rows, const std::vector<Point>& columns,
                            const std::vector<Index>& chosen, Index first) {
        Assignment assignment(rows, columns, cutoff);
        for (const Index row : chosen)
            assignment.reduce_row(row, unmatched(components.root(first + row)));
        for (const Index row : chosen)
            assignment.augment_row(row, unmatched(components.root(first + row)));
        return assignment.column_of();
    };

    std::vector<Pair> pairs;
    const auto of_truth = assign(truth, detected, truth_rows, 0);
    for (const Index i : truth_rows)
        if (of_truth[i] != kNone) pairs.push_back({i, of_truth[i]});
    const auto of_detected = assign(detected, truth, detected_rows, n_truth);
    for (const Index j : detected_rows)
        if (of_detected[j] != kNone) pairs.push_back({of_detected[j], j});
    std::sort(pairs.begin(), pairs.end(),
              [](const Pair& a, const Pair& b) { return a.truth < b.truth; });
    return pairs;
}

}  // namespace blinkcore
