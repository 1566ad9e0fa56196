#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace blinkcore {

/// A point in px; 2D points have z = 0.
struct Point {
    double z, y, x;
};

struct Pair {
    std::int64_t truth, detected;
};

/// Optimal one-to-one matching: as many pairs as possible, and among those the smallest
/// total distance. Points match if their distance is at most `cutoff`. Sorted by `truth`.
///
/// Jonker-Volgenant shortest augmenting paths on each connected component: O(n^3) in the
/// points of the largest component, nearly linear where components are small. Distances are
/// computed when needed, so memory is linear in the number of points. In each component the
/// smaller side provides the rows, because a row without a partner costs a whole search.
std::vector<Pair> match(const std::vector<Point>& truth, const std::vector<Point>& detected,
                        double cutoff);

/// Number of pairs of `match` at each of the ascending `cutoffs`. Each matching is grown
/// from the one before.
std::vector<std::int64_t> count_matches(const std::vector<Point>& truth,
                                        const std::vector<Point>& detected,
                                        const std::vector<double>& cutoffs);

}  // namespace blinkcore
