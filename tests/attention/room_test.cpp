// Rooms for rows that are made before they are multiplied: runs that overlap never share one.
#include <cairn/attention/room.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("runs that overlap get rooms of their own, as few as can be", "[room]") {
    Random random(63);
    for (int round = 0; round < 300; ++round) {
        internal::RowRooms rooms;
        std::vector<std::array<int, 3>> taken;  // begin, end, room
        int begin = 0;
        int deepest = 0;
        for (int i = 0; i < 6; ++i) {
            begin += draw(random, 0, 40);
            const int end = begin + draw(random, 1, 60);
            const int room = rooms.take(begin, end);
            int over = 1;
            for (const auto& [b, e, r] : taken) {
                REQUIRE((e <= begin || r != room));
                over += e > begin ? 1 : 0;
            }
            deepest = std::max(deepest, over);
            REQUIRE(room < deepest);
            taken.push_back({begin, end, room});
        }
    }
    internal::RowRooms full;
    for (int i = 0; i < internal::RowRooms::most; ++i) CHECK(full.take(0, 10) == i);
    CHECK(full.take(5, 10) == internal::RowRooms::most);
}

TEST_CASE("what is made: inputs always, keys before rotation as keys", "[room]") {
    RunList runs;
    Run run;
    run.end = 100;
    CHECK_FALSE(internal::is_made(run, Made::keys));
    run.kind = RowKind::bare_key;
    CHECK(internal::is_made(run, Made::keys));
    CHECK_FALSE(internal::is_made(run, Made::values));
    run.kind = RowKind::input;
    CHECK(internal::is_made(run, Made::values));
    for (int i = 0; i < 3; ++i) runs.push(run);  // three forms at once
    CHECK(internal::RowRooms::of(runs, Made::keys) == 3);
}
