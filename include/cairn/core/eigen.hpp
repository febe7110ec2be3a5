// Eigen, included in one place, with the warnings of its own headers off.
#pragma once

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#endif
#include <Eigen/Core>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The matrix of the interface: rows are tokens.
using RowMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
/// A row-major matrix somebody else owns; rows may be strided.
using MatrixIn = Eigen::Ref<const RowMatrix, 0, Eigen::OuterStride<>>;
/// The same to write to.
using MatrixOut = Eigen::Ref<RowMatrix, 0, Eigen::OuterStride<>>;
/// A view with the row stride of whoever owns the memory.
using MatrixView = Eigen::Map<const RowMatrix, 0, Eigen::OuterStride<>>;

}}  // namespace cairn
