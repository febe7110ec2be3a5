// What every cache asks of rows from outside before it touches anything.
#pragma once

#include "cairn/cache/seam/concepts.hpp"
#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// Where values are read from the rows of keys, `v` is `k`.
inline void check_staged(const TokenRows& k, const TokenRows& v, int length, int capacity,
                         int max_rows) {
    require(k.rows == v.rows, ErrorCode::shape_mismatch, "stage: ", k.rows, " key rows and ",
            v.rows, " value rows");
    require(k.rows >= 0 && (k.rows == 0 || (k.data != nullptr && v.data != nullptr)),
            ErrorCode::invalid_argument, "stage: ", k.rows, " rows at a null pointer");
    require(k.rows <= capacity - length, ErrorCode::capacity, "cache full: ", k.rows,
            " more rows do not fit, ", length, " of ", capacity, " are used");
    require(k.rows <= max_rows, ErrorCode::capacity, "stage: ", k.rows, " rows at once, but only ",
            max_rows, " more fit before a commit");
}
}}}  // namespace cairn::internal
