#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "decode.hpp"
#include "fit.hpp"
#include "match.hpp"
#include "refine.hpp"

namespace py = pybind11;

// The arrays of _core.pyi, in the same order.
using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using DoubleArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

namespace {

constexpr double kFarthest = 1e100;          // px
constexpr std::size_t kLargestRadius = 100;  // px, of a window that is fitted

std::string shape_of(const py::array& array) { return py::str(array.attr("shape")); }

/// Hand a vector of records of `n_fields` T each to NumPy without copying.
template <class T, class Record>
py::array_t<T> to_numpy(std::vector<Record>&& records) {
    static_assert(sizeof(Record) % sizeof(T) == 0);
    constexpr auto n_fields = static_cast<py::ssize_t>(sizeof(Record) / sizeof(T));
    auto owner = std::make_unique<std::vector<Record>>(std::move(records));
    const auto n = static_cast<py::ssize_t>(owner->size());
    const T* data = reinterpret_cast<const T*>(owner->data());
    py::capsule base(owner.get(), [](void* p) { delete static_cast<std::vector<Record>*>(p); });
    owner.release();
    if constexpr (n_fields == 1) return py::array_t<T>({n}, data, base);
    return py::array_t<T>({n, n_fields}, data, base);
}

py::object decode(const FloatArray& grid, double cell_size, double origin, double threshold,
                  double merge_distance) {
    const py::ssize_t n_channels = grid.ndim() == 3 ? grid.shape(0) : 0;
    if (n_channels != 3 && n_channels != 4)
        throw py::value_error(
            "grid must have shape (3, rows, cols), or 4 channels with the error, got " +
            shape_of(grid));
    if (!(cell_size > 0.0) || !std::isfinite(cell_size))
        throw py::value_error("cell_size must be positive, got " + std::to_string(cell_size));
    if (!(threshold >= 0.0))
        throw py::value_error("threshold must not be negative, got " + std::to_string(threshold));
    const blinkcore::DecodeOptions options{cell_size, origin, threshold, merge_distance};
    const auto n_rows = static_cast<std::size_t>(grid.shape(1));
    const auto n_cols = static_cast<std::size_t>(grid.shape(2));
    std::vector<blinkcore::Spot> spots;
    {
        py::gil_scoped_release release;
        spots = blinkcore::decode(grid.data(), n_channels == 4, n_rows, n_cols, options);
    }
    const py::object all = to_numpy<double>(std::move(spots));
    return all[py::make_tuple(py::ellipsis(), py::slice(0, n_channels, 1))];
}

std::vector<blinkcore::Point> to_points(const DoubleArray& array, const char* name) {
    if (array.ndim() != 2 || (array.shape(1) != 2 && array.shape(1) != 3))
        throw py::value_error(std::string(name) + " must have shape (n, 2) or (n, 3), got " +
                              shape_of(array));
    const auto points = array.unchecked<2>();
    const bool has_z = array.shape(1) == 3;
    std::vector<blinkcore::Point> result;
    result.reserve(static_cast<std::size_t>(array.shape(0)));
    for (py::ssize_t i = 0; i < array.shape(0); ++i) {
        const blinkcore::Point point{has_z ? points(i, 0) : 0.0, points(i, has_z ? 1 : 0),
                                     points(i, has_z ? 2 : 1)};
        for (const double value : {point.z, point.y, point.x})
            if (!(std::abs(value) <= kFarthest))
                throw py::value_error(
                    std::string(name) + " must be finite and below 1e100, got row " +
                    std::to_string(i) + " with " + std::string(py::str(py::float_(value))));
        result.push_back(point);
    }
    return result;
}

void check_same_width(const DoubleArray& truth, const DoubleArray& detected) {
    if (truth.shape(1) != detected.shape(1))
        throw py::value_error("truth and detected must have the same number of coordinates, got " +
                              shape_of(truth) + " and " + shape_of(detected));
}

void check_cutoff(double cutoff) {
    // Squares of smaller and larger distances are not exact.
    if (cutoff != 0.0 && !(cutoff >= 1.0 / kFarthest && cutoff <= kFarthest))
        throw py::value_error("cutoff must be a distance in px, 0 or 1e-100 to 1e100, got " +
                              std::string(py::str(py::float_(cutoff))));
}

py::array match(const DoubleArray& truth, const DoubleArray& detected, double cutoff) {
    const auto from = to_points(truth, "truth");
    const auto to = to_points(detected, "detected");
    check_same_width(truth, detected);
    check_cutoff(cutoff);
    std::vector<blinkcore::Pair> pairs;
    {
        py::gil_scoped_release release;
        pairs = blinkcore::match(from, to, cutoff);
    }
    return to_numpy<std::int64_t>(std::move(pairs));
}

py::array count_matches(const DoubleArray& truth, const DoubleArray& detected,
                        const DoubleArray& cutoffs) {
    const auto from = to_points(truth, "truth");
    const auto to = to_points(detected, "detected");
    check_same_width(truth, detected);
    if (cutoffs.ndim() != 1)
        throw py::value_error("cutoffs must have shape (n,), got " + shape_of(cutoffs));
    const std::vector<double> values(cutoffs.data(), cutoffs.data() + cutoffs.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        check_cutoff(values[i]);
        if (i > 0 && values[i] < values[i - 1])
            throw py::value_error("cutoffs must ascend, got " + std::to_string(values[i - 1]) +
                                  " before " + std::to_string(values[i]));
    }
    std::vector<std::int64_t> counts;
    {
        py::gil_scoped_release release;
        counts = blinkcore::count_matches(from, to, values);
    }
    return to_numpy<std::int64_t>(std::move(counts));
}

py::array refine(const FloatArray& image, const DoubleArray& points, std::size_t radius,
                 double sigma) {
    if (image.ndim() != 2)
        throw py::value_error("image must have shape (height, width), got " + shape_of(image));
    if (points.ndim() != 2 || points.shape(1) != 2)
        throw py::value_error("points must have shape (n, 2), got " + shape_of(points));
    if (!(sigma > 0.0) || radius == 0)
        throw py::value_error("radius and sigma must be positive, got " + std::to_string(radius) +
                              " and " + std::to_string(sigma));
    std::vector<blinkcore::Fit> fits;
    {
        py::gil_scoped_release release;
        fits = blinkcore::refine(image.data(), static_cast<std::size_t>(image.shape(0)),
                                 static_cast<std::size_t>(image.shape(1)), points.data(),
                                 static_cast<std::size_t>(points.shape(0)), {radius, sigma});
    }
    return to_numpy<double>(std::move(fits));
}

py::array fit(const FloatArray& image, const DoubleArray& points, std::size_t radius, double sigma,
              bool poisson, double offset, double gain, double read_variance,
              std::size_t n_threads) {
    if (image.ndim() != 2)
        throw py::value_error("image must have shape (height, width), got " + shape_of(image));
    if (points.ndim() != 2 || points.shape(1) != 2)
        throw py::value_error("points must have shape (n, 2), got " + shape_of(points));
    if (!(sigma > 0.0) || radius == 0 || radius > kLargestRadius)
        throw py::value_error("sigma must be positive, radius 1 to " +
                              std::to_string(kLargestRadius) + ", got " + std::to_string(sigma) +
                              " and " + std::to_string(radius));
    if (!std::isfinite(offset) || !(gain > 0.0 && std::isfinite(gain)))
        throw py::value_error("offset must be finite, gain positive, got " +
                              std::to_string(offset) + " and " + std::to_string(gain));
    if (!(read_variance >= 0.0 && read_variance <= kFarthest))
        throw py::value_error("read_variance must not be negative, got " +
                              std::to_string(read_variance));
    std::vector<blinkcore::SpotFit> fits;
    {
        py::gil_scoped_release release;
        fits =
            blinkcore::fit_spots(image.data(), static_cast<std::size_t>(image.shape(0)),
                                 static_cast<std::size_t>(image.shape(1)), points.data(),
                                 static_cast<std::size_t>(points.shape(0)),
                                 {radius, sigma, poisson, offset, gain, read_variance, n_threads});
    }
    return to_numpy<double>(std::move(fits));
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.attr("__version__") = BLINKCORE_VERSION;
    m.def("decode", &decode, py::arg("grid"), py::kw_only(), py::arg("cell_size"),
          py::arg("origin"), py::arg("threshold"), py::arg("merge_distance"),
          "A grid to spots (n, 3): y, x, probability; with the error (n, 4).");
    m.def("match", &match, py::arg("truth"), py::arg("detected"), py::kw_only(), py::arg("cutoff"),
          "Optimal pairs (k, 2) of two point sets.");
    m.def("count_matches", &count_matches, py::arg("truth"), py::arg("detected"), py::kw_only(),
          py::arg("cutoffs"), "Number of optimal pairs at each cutoff.");
    m.def("refine", &refine, py::arg("image"), py::arg("points"), py::kw_only(), py::arg("radius"),
          py::arg("sigma"), "Gaussians (n, 4): y, x, their error, sigma; NaN where none fits.");
    m.def("fit", &fit, py::arg("image"), py::arg("points"), py::kw_only(), py::arg("radius"),
          py::arg("sigma"), py::arg("poisson"), py::arg("offset"), py::arg("gain"),
          py::arg("read_variance"), py::arg("n_threads"),
          "Integrated Gaussians (n, 12): y, x, sigma, intensity, background, the error of each and "
          "of the amplitude, chi square; NaN where none fits.");
}
