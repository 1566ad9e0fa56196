#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "match.hpp"

namespace blinkcore {

/// Index of a point; `kNone` stands for no point.
using Index = std::uint32_t;
inline constexpr Index kNone = std::numeric_limits<Index>::max();

inline double distance(const Point& a, const Point& b) {
    const double z = a.z - b.z;
    const double y = a.y - b.y;
    const double x = a.x - b.x;
    return std::sqrt(z * z + y * y + x * x);
}

/// Points in cubes a little wider than the cutoff: matches lie in a point's cube or the 26 around.
class SpatialHash {
   public:
    SpatialHash(const std::vector<Point>& points, double cutoff)
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

}  // namespace blinkcore
