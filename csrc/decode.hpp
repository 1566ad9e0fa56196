#pragma once
#include <cstddef>
#include <vector>

namespace blinkcore {

/// Pixel position (an integer is the centre of a pixel) and probability in [0, 1].
struct Spot {
    double y, x, probability;
};

struct DecodeOptions {
    double cell_size;       ///< px
    double origin;          ///< coordinate of the outer edge of the first cell, px
    double threshold;       ///< a spot's probability must exceed it
    double merge_distance;  ///< px; closer claims of neighbouring cells are one spot
};

/// Turn one grid into spots, in row-major order of their strongest cell.
///
/// grid: (3, n_rows, n_cols) row-major; channels probability, row offset, column offset.
/// A spot on the border of two cells is claimed by both, each with a part of its
/// probability. Claims of neighbouring cells closer than `merge_distance` are one spot:
/// their probabilities add up and its position is their weighted mean.
std::vector<Spot> decode(const float* grid, std::size_t n_rows, std::size_t n_cols,
                         const DecodeOptions& options);

}  // namespace blinkcore
