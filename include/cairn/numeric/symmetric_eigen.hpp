// Eigenvalues and vectors of a symmetric matrix, by Householder's tridiagonal form and QL steps
// (the EISPACK routines tred2 and tql2). The same bits on every machine: sums are std::fma in one
// order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

class SymmetricEigen {
  public:
    /// a: [n][n], row-major; only its lower half is read. Throws Error{non_finite} for NaN and
    /// infinities, and where the steps do not come to an end.
    SymmetricEigen(std::vector<double> a, int n)
        : n_(n),
          v_(std::move(a)),
          d_(static_cast<std::size_t>(n)),
          e_(static_cast<std::size_t>(n)) {
        make_tridiagonal();
        make_diagonal();
        for (const double value : d_)
            require(std::isfinite(value), ErrorCode::non_finite, "an eigenvalue is ", value);
    }
    /// Not in order.
    double value(int k) const noexcept { return d_[static_cast<std::size_t>(k)]; }
    /// Component i of the vector of value k; vectors have length 1.
    double vector(int i, int k) const noexcept { return v_[at(i, k)]; }

  private:
    std::size_t at(int i, int k) const noexcept {
        return static_cast<std::size_t>(i) * static_cast<std::size_t>(n_) +
               static_cast<std::size_t>(k);
    }
    double& d(int i) noexcept { return d_[static_cast<std::size_t>(i)]; }
    double& e(int i) noexcept { return e_[static_cast<std::size_t>(i)]; }
    double& v(int i, int k) noexcept { return v_[at(i, k)]; }

    void make_tridiagonal() {
        for (int j = 0; j < n_; ++j) d(j) = v(n_ - 1, j);
        for (int i = n_ - 1; i > 0; --i) reduce_row(i);
        for (int i = 0; i + 1 < n_; ++i) {  // the product of the reflections
            v(n_ - 1, i) = v(i, i);
            v(i, i) = 1.0;
            const double h = d(i + 1);
            if (h != 0.0) {
                for (int k = 0; k <= i; ++k) d(k) = v(k, i + 1) / h;
                for (int j = 0; j <= i; ++j) {
                    double g = 0.0;
                    for (int k = 0; k <= i; ++k) g = std::fma(v(k, i + 1), v(k, j), g);
                    for (int k = 0; k <= i; ++k) v(k, j) = std::fma(-g, d(k), v(k, j));
                }
            }
            for (int k = 0; k <= i; ++k) v(k, i + 1) = 0.0;
        }
        for (int j = 0; j < n_; ++j) {
            d(j) = v(n_ - 1, j);
            v(n_ - 1, j) = 0.0;
        }
        v(n_ - 1, n_ - 1) = 1.0;
        e(0) = 0.0;
    }
    void reduce_row(int i) {
        double scale = 0.0;
        double h = 0.0;
        for (int k = 0; k < i; ++k) scale += std::fabs(d(k));
        if (scale == 0.0) {
            e(i) = d(i - 1);
            for (int j = 0; j < i; ++j) {
                d(j) = v(i - 1, j);
                v(i, j) = v(j, i) = 0.0;
            }
            d(i) = 0.0;
            return;
        }
        for (int k = 0; k < i; ++k) {
            d(k) /= scale;
            h = std::fma(d(k), d(k), h);
        }
        double f = d(i - 1);
        double g = f > 0.0 ? -std::sqrt(h) : std::sqrt(h);
        e(i) = scale * g;
        h = std::fma(-f, g, h);
        d(i - 1) = f - g;
        for (int j = 0; j < i; ++j) e(j) = 0.0;
        for (int j = 0; j < i; ++j) {
            f = d(j);
            v(j, i) = f;
            g = std::fma(v(j, j), f, e(j));
            for (int k = j + 1; k < i; ++k) {
                g = std::fma(v(k, j), d(k), g);
                e(k) = std::fma(v(k, j), f, e(k));
            }
            e(j) = g;
        }
        f = 0.0;
        for (int j = 0; j < i; ++j) {
            e(j) /= h;
            f = std::fma(e(j), d(j), f);
        }
        const double half = f / (h + h);
        for (int j = 0; j < i; ++j) e(j) = std::fma(-half, d(j), e(j));
        for (int j = 0; j < i; ++j) {
            f = d(j);
            g = e(j);
            for (int k = j; k < i; ++k) v(k, j) -= std::fma(f, e(k), g * d(k));
            d(j) = v(i - 1, j);
            v(i, j) = 0.0;
        }
        d(i) = h;
    }
    void make_diagonal() {
        for (int i = 1; i < n_; ++i) e(i - 1) = e(i);
        e(n_ - 1) = 0.0;
        double shift = 0.0;
        double largest = 0.0;
        for (int l = 0; l < n_; ++l) {
            largest = std::max(largest, std::fabs(d(l)) + std::fabs(e(l)));
            int m = l;
            while (m + 1 < n_ && std::fabs(e(m)) > 0x1p-52 * largest) ++m;
            for (int step = 0; m > l; ++step) {
                require(step < 100, ErrorCode::non_finite, "eigenvalues of ", n_,
                        " numbers: no end in sight");
                shift += ql_step(l, m);
                if (!(std::fabs(e(l)) > 0x1p-52 * largest)) break;
            }
            d(l) += shift;
            e(l) = 0.0;
        }
    }
    static double length(double a, double b) noexcept { return std::sqrt(std::fma(a, a, b * b)); }
    // One implicit QL step; returns by how much all values were shifted.
    double ql_step(int l, int m) {
        double g = d(l);
        double p = (d(l + 1) - g) / (2.0 * e(l));
        double r = length(p, 1.0);
        if (p < 0.0) r = -r;
        d(l) = e(l) / (p + r);
        d(l + 1) = e(l) * (p + r);
        const double next = d(l + 1);
        const double h = g - d(l);
        for (int i = l + 2; i < n_; ++i) d(i) -= h;
        p = d(m);
        double c = 1.0;
        double c2 = c;
        double c3 = c;
        const double el1 = e(l + 1);
        double s = 0.0;
        double s2 = 0.0;
        for (int i = m - 1; i >= l; --i) {
            c3 = c2;
            c2 = c;
            s2 = s;
            g = c * e(i);
            const double cp = c * p;
            r = length(p, e(i));
            e(i + 1) = s * r;
            s = e(i) / r;
            c = p / r;
            p = std::fma(c, d(i), -(s * g));
            d(i + 1) = std::fma(s, std::fma(c, g, s * d(i)), cp);
            for (int k = 0; k < n_; ++k) {
                const double w = v(k, i + 1);
                v(k, i + 1) = std::fma(s, v(k, i), c * w);
                v(k, i) = std::fma(c, v(k, i), -(s * w));
            }
        }
        p = -s * s2 * c3 * el1 * e(l) / next;
        e(l) = s * p;
        d(l) = c * p;
        return h;
    }
    int n_;
    std::vector<double> v_;
    std::vector<double> d_;
    std::vector<double> e_;
};

}}}  // namespace cairn::internal
