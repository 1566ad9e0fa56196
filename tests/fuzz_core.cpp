// Odd arrays through every function of csrc, without Python.
//
// With libFuzzer (`make fuzz-core`) bytes become arrays, and what a function promises is checked.
// With BLINKCORE_THREADS defined (`make threads`) several threads do so with random bytes, for
// ThreadSanitizer.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "decode.hpp"
#include "fit.hpp"
#include "match.hpp"
#include "refine.hpp"

namespace {

void check(bool holds, const char* promise) {
    if (holds) return;
    std::fprintf(stderr, "does not hold: %s\n", promise);
    std::abort();
}

/// Reads numbers from bytes; zeros after their end.
class Bytes {
   public:
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(sizeof(T), left_);
        if (n > 0) std::memcpy(&value, data_, n);
        data_ += n;
        left_ -= n;
        return value;
    }

    std::size_t below(std::size_t n) { return take<std::uint8_t>() % n; }

    /// Mostly quarters of small integers, so that distances tie; else any bits.
    double number() {
        const auto kind = take<std::uint8_t>();
        if (kind < 32) return take<double>();
        if (kind < 64) return static_cast<double>(take<float>());
        return take<std::int8_t>() / 4.0;
    }

    /// As the extension lets pass: finite, at most 1e100.
    double coordinate() {
        const double value = number();
        return std::abs(value) <= 1e100 ? value : 0.0;
    }

    std::vector<float> image(std::size_t n) {
        std::vector<float> values(n);
        const bool is_odd = below(4) == 0;
        for (float& value : values)
            value = is_odd ? static_cast<float>(number()) : take<std::uint8_t>();
        return values;
    }

    std::vector<blinkcore::Point> points(std::size_t limit) {
        std::vector<blinkcore::Point> values(below(limit));
        for (auto& point : values) point = {coordinate(), coordinate(), coordinate()};
        return values;
    }

   private:
    const std::uint8_t* data_;
    std::size_t left_;
};

void decode(Bytes& bytes) {
    const bool has_error = bytes.below(2) == 1;
    const std::size_t n_rows = bytes.below(7), n_cols = bytes.below(7);
    const double threshold = std::abs(bytes.number());
    if (std::isnan(threshold)) return;
    const blinkcore::DecodeOptions options{1.0 + static_cast<double>(bytes.below(8)),
                                           bytes.number(), threshold, bytes.number()};
    std::vector<float> grid((has_error ? 4 : 3) * n_rows * n_cols);
    const bool is_odd = bytes.below(4) == 0;
    for (float& value : grid)
        value = is_odd ? static_cast<float>(bytes.number()) : bytes.take<std::uint8_t>() / 255.0F;
    std::vector<blinkcore::Spot> spots;
    try {
        spots = blinkcore::decode(grid.data(), has_error, n_rows, n_cols, options);
    } catch (const std::invalid_argument&) {
        return;  // no probability
    }
    check(spots.size() <= n_rows * n_cols, "at most one spot a cell");
    for (const auto& spot : spots)
        check(spot.probability > threshold && spot.probability <= 1.0,
              "probabilities above the threshold, up to 1");
}

void match(Bytes& bytes) {
    const auto truth = bytes.points(12), detected = bytes.points(12);
    double cutoff = std::abs(bytes.coordinate());
    if (cutoff < 1e-100) cutoff = 0.0;
    const auto pairs = blinkcore::match(truth, detected, cutoff);
    std::set<std::int64_t> rows, columns;
    for (const auto& pair : pairs) {
        const auto& a = truth.at(static_cast<std::size_t>(pair.truth));
        const auto& b = detected.at(static_cast<std::size_t>(pair.detected));
        const double distance = std::hypot(a.z - b.z, a.y - b.y, a.x - b.x);
        // The square of a distance below 1e-154 is rounded.
        check(distance <= cutoff * (1 + 1e-9) + 1e-154, "pairs within the cutoff");
        check(rows.insert(pair.truth).second && columns.insert(pair.detected).second,
              "each point in one pair");
    }
    const auto counts = blinkcore::count_matches(truth, detected, {0.0, cutoff});
    check(counts.size() == 2 && counts[0] <= counts[1], "counts ascend");
    check(counts[1] == static_cast<std::int64_t>(pairs.size()), "as many as match gives");
}

/// Places of spots in an image, some of them outside.
std::vector<double> places(Bytes& bytes) {
    std::vector<double> values(2 * bytes.below(5));
    for (double& value : values) value = bytes.number() / 4.0;
    return values;
}

void refine(Bytes& bytes) {
    const std::size_t n_rows = bytes.below(14), n_cols = bytes.below(14);
    const auto points = places(bytes);
    const blinkcore::FitOptions options{1 + bytes.below(6), 0.25 + bytes.below(20) / 4.0};
    const auto image = bytes.image(n_rows * n_cols);
    const auto fits =
        blinkcore::refine(image.data(), n_rows, n_cols, points.data(), points.size() / 2, options);
    check(fits.size() == points.size() / 2, "one fit a point");
    for (const auto& fit : fits) check(!(fit.sigma < 0.0), "no negative width");
}

void fit(Bytes& bytes) {
    const std::size_t n_rows = bytes.below(14), n_cols = bytes.below(14);
    const auto points = places(bytes);
    const blinkcore::SpotFitOptions options{1 + bytes.below(6),
                                            0.25 + bytes.below(20) / 4.0,
                                            bytes.below(2) == 1,
                                            static_cast<double>(bytes.below(20)),
                                            0.25 + bytes.below(20) / 4.0,
                                            static_cast<double>(bytes.below(20)),
                                            2};
    const auto image = bytes.image(n_rows * n_cols);
    const auto fits = blinkcore::fit_spots(image.data(), n_rows, n_cols, points.data(),
                                           points.size() / 2, options);
    check(fits.size() == points.size() / 2, "one fit a point");
    for (const auto& spot : fits) {
        check(std::isnan(spot.y) == std::isnan(spot.chi_square), "NaN throughout or nowhere");
        if (std::isnan(spot.y)) continue;
        check(spot.y > -0.5 && spot.y < static_cast<double>(n_rows) - 0.5 && spot.x > -0.5 &&
                  spot.x < static_cast<double>(n_cols) - 0.5,
              "a fitted spot lies in the image");
        check(spot.sigma > 0.0 && spot.intensity > 0.0, "width and light are positive");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes bytes(data, size);
    switch (bytes.below(4)) {
        case 0:
            decode(bytes);
            break;
        case 1:
            match(bytes);
            break;
        case 2:
            refine(bytes);
            break;
        default:
            fit(bytes);
    }
    return 0;
}

#ifdef BLINKCORE_THREADS
#include <random>
#include <thread>

int main(int n_words, char** words) {
    const long n_inputs = n_words > 1 ? std::stol(words[1]) : 20'000;
    const auto work = [n_inputs] {  // all with the same inputs, in the same order
        std::mt19937 random(0);
        std::vector<std::uint8_t> bytes(512);
        for (long i = 0; i < n_inputs; ++i) {
            for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
            LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
    std::printf("4 threads, %ld inputs each: no data race\n", n_inputs);
}
#endif
