// Attention as its definition reads, over any cache: every row that a query sees is read, made what
// it stands for by the caller, and multiplied as plain f32, in the library's order of operations.
#pragma once

#include <cairn/cairn.hpp>

#include "support.hpp"

namespace support {

/// A row that a query reads, and where the query stands for it; empty where it sees none.
struct ReadRow {
    std::vector<float> numbers;
    int place = 0;
};

/// Rows of one KV head as a query at `position` reads them, by number. `make(part, kv_head,
/// position, row)` makes a row as kept what it is multiplied as.
template <class Make>
std::vector<ReadRow> read_rows(const RunList& runs, Made part, int kv_head, int position, int dims,
                               int length, const Make& make) {
    std::vector<ReadRow> rows(static_cast<std::size_t>(length));
    RowReader reader;
    OwnScratch scratch;
    for (const Run& run : runs) {
        const int width = run.dims != 0 ? run.dims : dims;
        std::vector<float> row(static_cast<std::size_t>(width));
        const auto seen = internal::visible(run, Run::forever, position, run.begin, run.end);
        for (int j = seen.begin; j < seen.end; ++j) {
            run.codec->decode(reader.at(run, j), width, row.data(), width,
                              scratch.with(run.codec->scratch_floats(width)));
            // Values stay turned: the output is turned back.
            if (run.rotated && (part == Made::keys || run.kind == RowKind::input))
                kernels::hadamard(row.data(), width);
            rows[static_cast<std::size_t>(j)] = {
                make(run.kind, part, kv_head, run.position_of(j), row), run.place_of(position)};
        }
    }
    return rows;
}

/// One row of queries (not rotated) at `position`, over what the cache holds.
template <class Make>
RowMatrix read_and_attend(AnyCache& cache, const RowMatrix& q, int position,
                          const AttentionParameters& parameters, const Make& make) {
    const auto& kernel = kernels::active();
    const HeadLayout layout = cache.layout();
    const int dims = layout.value_dim;
    constexpr float least = -std::numeric_limits<float>::infinity();
    RowMatrix out = RowMatrix::Zero(1, layout.heads * dims);
    RunList key_runs, value_runs;
    std::vector<ReadRow> keys, values;
    for (int h = 0; h < layout.heads; ++h) {
        const int kv = h / layout.group();
        if (h % layout.group() == 0) {
            cache.runs(kv, key_runs, value_runs);
            keys =
                read_rows(key_runs, Made::keys, kv, position, layout.key_dim, position + 1, make);
            values = read_rows(value_runs, Made::values, kv, position, dims, position + 1, make);
        }
        const auto query_at = [&](int place) {
            std::vector<float> query(q.data() + h * layout.key_dim,
                                     q.data() + (h + 1) * layout.key_dim);
            if (parameters.rotation != nullptr) parameters.rotation->rotate(query.data(), place);
            kernel.scale(parameters.scale, layout.key_dim, query.data());
            return query;
        };
        float max = least;
        float sum = 0.0F;
        std::vector<float> total(static_cast<std::size_t>(dims));
        for (int low = 0; low <= position; low += 256) {
            std::vector<float> p(256, least);
            int first = 256;
            int last = 0;
            const int high = std::min(low + 256, position + 1);
            for (int j = low; j < high; ++j) {
                const auto& [key, place] = keys[static_cast<std::size_t>(j)];
                if (key.empty()) continue;
                const std::vector<float> query = query_at(place);
                kernel.scores_rows<ElementType::f32>(
                    {reinterpret_cast<const std::byte*>(key.data()), 0, 0, 1, layout.key_dim},
                    query.data(), 0, 1, &p[static_cast<std::size_t>(j - low)], 0);
                first = std::min(first, j - low);
                last = j - low + 1;
            }
            if (first >= last) continue;
            float m = 0.0F;
            float l = 0.0F;
            kernel.softmax(p.data(), first, last, &m, &l);
            std::vector<float> part(static_cast<std::size_t>(dims));
            for (int j = low; j < high; ++j) {
                const auto& value = values[static_cast<std::size_t>(j)].numbers;
                if (value.empty()) continue;
                kernel.weigh_rows<ElementType::f32>(
                    {reinterpret_cast<const std::byte*>(value.data()), 0, 0, 1, dims},
                    &p[static_cast<std::size_t>(j - low)], 0, 1, part.data(), 0);
            }
            if (max == least) {
                max = m;
                sum = l;
                total = part;
            } else {
                kernel.merge(&max, &sum, total.data(), m, l, part.data(), dims);
            }
        }
        if (max == least) continue;
        kernel.scale(1.0F / sum, dims, total.data());
        if (value_runs.size() > 0 && value_runs[0].turned()) kernels::hadamard(total.data(), dims);
        std::copy(total.begin(), total.end(), out.data() + h * dims);
    }
    return out;
}

/// Attention over caches from `make()` gives `wanted`, whatever pieces 200 rows and the others come
/// in, alone and by threads; rows that are taken back change nothing, nor does what a branch
/// writes. `feed(cache, out, begin, end, piece, context)` attends rows of the text of k and v.
template <class Make, class Feed>
void same_however_fed(const Make& make, const RowMatrix& k, const RowMatrix& v,
                      const RowMatrix& wanted, const Feed& feed) {
    const auto rows = static_cast<int>(wanted.rows());
    ThreadPool pool(3);
    Context alone;
    Context threads(pool);
    for (const int piece : {1, 37, rows})
        for (Context* context : {&alone, &threads}) {
            INFO("pieces of " << piece);
            AnyCache cache = make();
            RowMatrix got(rows, wanted.cols());
            feed(cache, got, 0, 200, piece, *context);
            cache.stage(token_rows(k.topRows(50)), token_rows(v.topRows(50)));
            cache.rollback();
            AnyCache branch = cache.fork();
            branch.append(token_rows(k.topRows(60)), token_rows(v.topRows(60)));
            feed(cache, got, 200, rows, piece, *context);
            REQUIRE(same_bits(got, wanted));
        }
}

}  // namespace support
