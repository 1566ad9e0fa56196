#pragma once
#include <cstddef>
#include <vector>

namespace blinkcore {

/// Pixel position (an integer is the centre of a pixel), probability in [0, 1] and standard
/// error of y and of x in px (NaN where the grid has none).
struct Spot {
    double y, x, probability, error;
};

struct DecodeOptions {
    double cell_size;       ///< px
    double origin;          ///< coordinate of the outer edge of the first cell, px
    double threshold;       ///< a spot's probability must exceed it
    double merge_distance;  ///< px; closer candidates of neighbouring cells are one spot
};

/// Turn one grid into spots, in row-major order of their strongest cell.
///
/// grid: (3, n_rows, n_cols) row-major; channels probability, row offset, column offset.
/// With `has_error` a fourth channel: the standard error of the position, in px.
/// A spot on the border of two cells is a candidate of both, each with a part of its
/// probability. Candidates of neighbouring cells closer than `merge_distance` are one spot:
/// their probabilities add up, its position is their weighted mean, its squared error the
/// weighted mean of theirs.
std::vector<Spot> decode(const float* grid, bool has_error, std::size_t n_rows, std::size_t n_cols,
                         const DecodeOptions& options);

}  // namespace blinkcore
