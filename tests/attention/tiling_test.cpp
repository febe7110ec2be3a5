// Tiles: every query head of every row in exactly one, at its position; and results merged as the
// definition adds them up.
#include <cairn/attention/tiling.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("tiles hold every query of every row once", "[tiling]") {
    for (const HeadLayout layout :
         {HeadLayout{1, 1, 8, 8}, HeadLayout{6, 2, 8, 8}, HeadLayout{16, 1, 8, 8},
          HeadLayout{71, 1, 8, 8}, HeadLayout{48, 2, 8, 8}})
        for (const int rows : {1, 2, 15, 16, 17, 40}) {
            INFO(layout.heads << "/" << layout.kv_heads << " heads, " << rows << " rows");
            const internal::Tiling tiling(layout, rows);
            std::vector<int> seen(static_cast<std::size_t>(rows * layout.heads));
            for (int strip = 0; strip < tiling.strips(); ++strip)
                for (int strand = 0; strand < tiling.strands(); ++strand) {
                    const internal::QueryTile tile = tiling.tile(strip, strand, 100);
                    REQUIRE(tile.count() <= internal::tile_queries);
                    for (int i = 0; i < tile.count(); ++i) {
                        const int row = tile.first_row + i / tile.group;
                        const int head = tile.head + i % tile.group;
                        REQUIRE(head / layout.group() == tiling.kv_head(strip));
                        REQUIRE(tile.position_of(i) == 100 + row);
                        ++seen[static_cast<std::size_t>(row * layout.heads + head)];
                    }
                }
            CHECK(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
        }
}

TEST_CASE("a tile's segments add up to the softmax over all of them", "[tiling]") {
    std::vector<float> room(internal::TileState::floats(2, 3));
    const internal::TileState state(room.data(), 3);
    state.clear(3);
    const float nothing = -std::numeric_limits<float>::infinity();
    // Query 0 sees both segments, query 1 the second only, query 2 none.
    const float m1[] = {1.0F, nothing, nothing}, l1[] = {2.0F, 0.0F, 0.0F};
    const float o1[] = {4.0F, 6.0F, 9.0F, 9.0F, 9.0F, 9.0F};
    const float m2[] = {1.0F, 3.0F, nothing}, l2[] = {6.0F, 2.0F, 0.0F};
    const float o2[] = {4.0F, 2.0F, 1.0F, 2.0F, 9.0F, 9.0F};
    state.add(3, 2, m1, l1, o1);
    state.add(3, 2, m2, l2, o2);
    std::vector<float> out(6, 7.0F);
    state.finish({0, 3, 1, 0, 0}, 2, {}, false, out.data(), 2);
    CHECK(out == std::vector<float>{1.0F, 1.0F, 0.5F, 1.0F, 0.0F, 0.0F});
}
