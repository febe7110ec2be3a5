// Which rows of a run a query sees, against the question asked row by row; and the stretches that
// queries of a tile go through together.
#include <cairn/attention/segment.hpp>

#include "support.hpp"
using namespace support;

namespace {

// As Run's fields are documented, for one row.
bool sees(const Run& run, int window, int position, int row) {
    const int j = row + run.offset;
    const int distance = position - j;
    if (row < run.begin || row >= run.end || distance < run.from) return false;
    if (run.window != Run::forever && distance >= run.window) return false;
    if (window != Run::forever && run.place_of(position) - j >= window) return false;
    const auto old = [&](int unit, int to) { return position / unit - row / unit >= to; };
    if (run.age_to != Run::forever && old(run.age_unit, run.age_to)) return false;
    return run.hot_to == 0 || old(run.hot_unit, run.hot_to);
}
Run random_run(Random& random) {
    Run run;
    run.begin = draw(random, 0, 300);
    run.end = run.begin + draw(random, 1, 300);
    if (draw(random, 0, 2) == 0) run.from = draw(random, 0, 20);
    if (draw(random, 0, 2) == 0) run.window = run.from + draw(random, 1, 200);
    if (draw(random, 0, 3) == 0)
        run.age_unit = draw(random, 1, 32), run.age_to = draw(random, 1, 5);
    if (draw(random, 0, 3) == 0)
        run.hot_unit = draw(random, 1, 32), run.hot_to = draw(random, 1, 5);
    return run;
}

}  // namespace

TEST_CASE("the rows a query sees are those that the fields of a run say", "[segment]") {
    Random random(61);
    int some = 0;
    for (int round = 0; round < 3000; ++round) {
        const Run run = random_run(random);
        const int window = draw(random, 0, 1) == 0 ? Run::forever : draw(random, 1, 200);
        const int position = draw(random, 0, 700);
        const int low = draw(random, 0, 2) * internal::segment_rows;
        const int high = low + internal::segment_rows;
        const internal::SeenRows seen = internal::visible(run, window, position, low, high);
        for (int row = low; row < high; ++row)
            REQUIRE(sees(run, window, position, row) == (row >= seen.begin && row < seen.end));
        some += seen.empty() ? 0 : 1;
    }
    CHECK(some > 300);
}

TEST_CASE("queries of a tile go through each row they see once, ascending", "[segment]") {
    Random random(62);
    for (int round = 0; round < 300; ++round) {
        const Run run = random_run(random);
        const int window = draw(random, 0, 1) == 0 ? Run::forever : draw(random, 1, 200);
        const int group = draw(random, 1, 4);
        const internal::QueryTile tile{0, draw(random, 1, 16 / group), group, 0,
                                       draw(random, 0, 600)};
        std::vector<std::vector<int>> rows(static_cast<std::size_t>(tile.count()));
        internal::for_each_common(run, tile, window, 256, 512,
                                  [&](int begin, int end, int query, int count) {
                                      for (int q = query; q < query + count; ++q)
                                          for (int row = begin; row < end; ++row)
                                              rows[static_cast<std::size_t>(q)].push_back(row);
                                  });
        for (int q = 0; q < tile.count(); ++q) {
            std::vector<int> wanted;
            for (int row = 256; row < 512; ++row)
                if (sees(run, window, tile.position_of(q), row)) wanted.push_back(row);
            REQUIRE(rows[static_cast<std::size_t>(q)] == wanted);
        }
    }
}
