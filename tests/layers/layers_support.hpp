// What several tests of layers/ share.
#pragma once

#include "support.hpp"

namespace support {

using Wide = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline Activations view(RowMatrix& m) { return {m.data(), m.cols(), m.rows()}; }

inline Wide weights_of(const cairn::Linear& linear) {
    RowMatrix w(linear.out(), linear.in());
    for (Eigen::Index n = 0; n < w.rows(); ++n) linear.weights().row(n, w.row(n).data());
    return w.cast<double>();
}

}  // namespace support
