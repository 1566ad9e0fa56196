#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>

namespace blinkcore {

template <std::size_t N>
using Vector = std::array<double, N>;
template <std::size_t N>
using SquareMatrix = std::array<Vector<N>, N>;

/// Cholesky's decomposition of a positive definite matrix: the lower triangle L of L L^T.
template <std::size_t N>
std::optional<SquareMatrix<N>> cholesky(const SquareMatrix<N>& a) {
    SquareMatrix<N> lower{};
    for (std::size_t i = 0; i < N; ++i)
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = a[i][j];
            for (std::size_t k = 0; k < j; ++k) sum -= lower[i][k] * lower[j][k];
            if (i == j) {
                if (!(sum > 0.0)) return std::nullopt;
                lower[i][i] = std::sqrt(sum);
            } else {
                lower[i][j] = sum / lower[j][j];
            }
        }
    return lower;
}

/// The solution z of L L^T z = b.
template <std::size_t N>
Vector<N> solve(const SquareMatrix<N>& lower, Vector<N> b) {
    for (std::size_t i = 0; i < N; ++i) {
        for (std::size_t k = 0; k < i; ++k) b[i] -= lower[i][k] * b[k];
        b[i] /= lower[i][i];
    }
    for (std::size_t i = N; i-- > 0;) {
        for (std::size_t k = i + 1; k < N; ++k) b[i] -= lower[k][i] * b[k];
        b[i] /= lower[i][i];
    }
    return b;
}

/// The inverse of a positive definite matrix; nullopt for others.
template <std::size_t N>
std::optional<SquareMatrix<N>> inverse(const SquareMatrix<N>& a) {
    const auto lower = cholesky(a);
    if (!lower) return std::nullopt;
    SquareMatrix<N> result{};
    for (std::size_t column = 0; column < N; ++column) {
        Vector<N> unit{};
        unit[column] = 1.0;
        result[column] = solve(*lower, unit);  // the inverse is symmetric
    }
    return result;
}

}  // namespace blinkcore
