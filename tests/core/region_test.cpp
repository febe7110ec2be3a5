// Pieces of shared memory: zeros, apart from each other, there as long as one of them is.
#include <cairn/core/region.hpp>

#include "../support.hpp"
using namespace support;

TEST_CASE("pieces of a region are zeros of their own, whatever goes before them", "[region]") {
    Random random(1);
    std::vector<MappedPiece> pieces;
    {
        Region region;
        for (int i = 0; i < 60; ++i) {
            const auto bytes = static_cast<std::size_t>(draw(random, 1, 1 << 22));
            pieces.push_back(region.take(bytes));
            const MappedPiece& piece = pieces.back();
            REQUIRE(piece.size() >= bytes);
            REQUIRE(piece.size() < bytes + page_size());
            REQUIRE(reinterpret_cast<std::uintptr_t>(piece.data()) % page_size() == 0);
            for (const std::size_t at : {std::size_t{0}, bytes / 2, piece.size() - 1})
                REQUIRE(piece.data()[at] == std::byte{0});
            std::memset(piece.data(), i + 1, piece.size());
        }
    }
    for (std::size_t i = 0; i < pieces.size(); i += 2) pieces[i] = MappedPiece();
    for (std::size_t i = 1; i < pieces.size(); i += 2)
        for (std::size_t at = 0; at < pieces[i].size(); at += 511)
            REQUIRE(pieces[i].data()[at] == static_cast<std::byte>(i + 1));
    MappedPiece moved = std::move(pieces[1]);
    CHECK((pieces[1].data() == nullptr && pieces[1].size() == 0));
    CHECK(moved.data()[0] == std::byte{2});
}

TEST_CASE("a region without memory says so and goes on", "[region]") {
    Region region;
    CHECK(region.take(0).size() == 0);
    const MappedPiece first = region.take(100);
    CHECK(code_of([&] { region.take(~std::size_t{0} - 100); }) == ErrorCode::out_of_memory);
    CHECK(code_of([&] { region.take(std::size_t{1} << 60); }) == ErrorCode::out_of_memory);
    CHECK(region.take(page_size()).data() == first.data() + page_size());
}

TEST_CASE("matrices in a region are the same matrices", "[region]") {
    Random random(2);
    const RowMatrix w = random_matrix(random, 70, 90);
    const WeightMatrix alone = WeightMatrix::from(w, ElementType::f16);
    Region region;
    std::vector<WeightMatrix> placed;
    for (int i = 0; i < 3; ++i) {
        placed.emplace_back(70, 90, ElementType::f16);
        placed.back().move_into(region);
        placed.back().put(0, 0, 70, 90, w.data(), 90, 1);
    }
    CHECK(placed[1].data() == placed[0].data() + placed[0].bytes());
    placed.erase(placed.begin());
    for (const WeightMatrix& matrix : placed) {
        Fingerprint a, b;
        alone.hash(a), matrix.hash(b);
        CHECK(a.value() == b.value());
        CHECK(matrix.bytes() == alone.bytes());
    }
}
