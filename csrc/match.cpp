#include "match.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>

namespace blinkcore {
namespace {

using Index = std::uint32_t;
constexpr Index kNone = std::numeric_limits<Index>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double distance(const Point& a, const Point& b) {
    const double z = a.z - b.z;
    const double y = a.y - b.y;
    const double x = a.x - b.x;
    return std::sqrt(z * z + y * y + x * x);
}

/// Points in cubes a little wider than the cutoff: what can match lies in the 27 around.
class Hash {
   public:
    Hash(const std::vector<Point>& points, double cutoff)
        : cutoff_(cutoff), side_(cutoff > 0.0 ? cutoff * (1.0 + 1e-9) : 1.0) {
        std::size_t size = 16;
        while (size < 2 * points.size()) size *= 2;
        mask_ = size - 1;
        start_.assign(size + 1, 0);
        for (const Point& point : points) ++start_[slot(cube(point)) + 1];
        std::partial_sum(start_.begin(), start_.end(), start_.begin());
        std::vector<Index> next(start_.begin(), start_.end() - 1);
        order_.resize(points.size());
        sorted_.resize(points.size());
        for (Index i = 0; i < points.size(); ++i) {
            const Index place = next[slot(cube(points[i]))]++;
            order_[place] = i;
            sorted_[place] = points[i];
            flat_ = flat_ && points[i].z == 0.0;
        }
    }

    /// Call visit(index, distance) for each point within the cutoff of `centre`, until it
    /// returns true. Returns whether it did.
    template <class Visit>
    bool any_near(const Point& centre, Visit&& visit) const {
        const Cube middle = cube(centre);
        const std::int64_t depth = flat_ && middle.z == 0 ? 0 : 1;
        std::array<std::size_t, 27> slots{};
        auto end = slots.begin();
        for (std::int64_t z = -depth; z <= depth; ++z)
            for (std::int64_t y = -1; y <= 1; ++y)
                for (std::int64_t x = -1; x <= 1; ++x) {
                    const std::size_t s = slot({middle.z + z, middle.y + y, middle.x + x});
                    // Two cubes may share a slot, whose points must be seen once.
                    if (std::find(slots.begin(), end, s) == end) *end++ = s;
                }
        for (auto s = slots.begin(); s != end; ++s)
            if (any_in(*s, centre, visit)) return true;
        return false;
    }

    template <class Visit>
    void each_near(const Point& centre, Visit&& visit) const {
        any_near(centre, [&](Index i, double d) {
            visit(i, d);
            return false;
        });
    }

   private:
    struct Cube {
        std::int64_t z, y, x;
    };

    std::int64_t coordinate(double value) const {
        constexpr double kLimit = 1e17;  // exact in int64, neighbours included
        return static_cast<std::int64_t>(std::clamp(std::floor(value / side_), -kLimit, kLimit));
    }
    Cube cube(const Point& p) const { return {coordinate(p.z), coordinate(p.y), coordinate(p.x)}; }
    std::size_t slot(const Cube& c) const {
        auto h = static_cast<std::uint64_t>(c.z) * 0x9E3779B97F4A7C15u;
        h = (h ^ static_cast<std::uint64_t>(c.y)) * 0xC2B2AE3D27D4EB4Fu;
        h = (h ^ (h >> 29) ^ static_cast<std::uint64_t>(c.x)) * 0x165667B19E3779F9u;
        return static_cast<std::size_t>(h ^ (h >> 32)) & mask_;
    }
    template <class Visit>
    bool any_in(std::size_t s, const Point& centre, Visit& visit) const {
        for (Index k = start_[s]; k < start_[s + 1]; ++k) {
            const double d = distance(sorted_[k], centre);
            if (d <= cutoff_ && visit(order_[k], d)) return true;
        }
        return false;
    }

    double cutoff_, side_;
    std::size_t mask_ = 0;
    bool flat_ = true;
    std::vector<Index> start_, order_;
    std::vector<Point> sorted_;
};

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
    /// that leaves it just as well off as with its second best. Whoever had the column
    /// before goes on looking. Cheap, and few rows are left for `add`.
    void bid(Index row, double unmatched) {
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

    void add(Index row, double unmatched) {
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
    Hash hash_;
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

/// Kuhn's augmenting paths, without recursion. What a failed search visited can never be
/// part of a later path at the same cutoff, so all failures together cost one pass.
class Growing {
   public:
    Growing(std::size_t n_rows, std::size_t n_columns)
        : column_of_(n_rows, kNone), row_of_(n_columns, kNone), from_(n_columns, kNone) {}

    std::int64_t grow(const std::vector<Point>& rows, const Hash& hash) {
        visited_.assign(row_of_.size(), 0);
        for (Index row = 0; row < rows.size(); ++row)
            if (column_of_[row] == kNone && search(row, rows, hash)) ++n_pairs_;
        return n_pairs_;
    }

   private:
    bool search(Index row, const std::vector<Point>& rows, const Hash& hash) {
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

std::vector<Pair> match(const std::vector<Point>& truth, const std::vector<Point>& detected,
                        double cutoff) {
    const auto n_truth = static_cast<Index>(truth.size());
    Components components(truth.size() + detected.size());
    {
        const Hash hash(detected, cutoff);
        for (Index i = 0; i < n_truth; ++i)
            hash.each_near(truth[i], [&](Index j, double) { components.join(i, n_truth + j); });
    }
    const Sizes sizes = component_sizes(components, truth.size(), detected.size());
    const auto unmatched = [&](Index root) {
        return cutoff * (1.0 + std::min(sizes.truth[root], sizes.detected[root])) + 1.0;
    };
    // The smaller side of a component are the rows: few stay without a partner then,
    // which is when a search must walk the whole component.
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
        for (const Index row : chosen) assignment.bid(row, unmatched(components.root(first + row)));
        for (const Index row : chosen) assignment.add(row, unmatched(components.root(first + row)));
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

std::vector<std::int64_t> count_matches(const std::vector<Point>& truth,
                                        const std::vector<Point>& detected,
                                        const std::vector<double>& cutoffs) {
    Growing growing(truth.size(), detected.size());
    std::vector<std::int64_t> counts;
    counts.reserve(cutoffs.size());
    for (const double cutoff : cutoffs)
        counts.push_back(growing.grow(truth, Hash(detected, cutoff)));
    return counts;
}

}  // namespace blinkcore
