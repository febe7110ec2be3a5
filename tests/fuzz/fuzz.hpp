// What the fuzz targets share: a typed error is a good end; everything else crashes, and is a bug.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <cairn/core/error.hpp>

template <class Body>
int fuzz(const std::uint8_t* data, std::size_t size, Body&& body) {
    try {
        body(std::string_view(reinterpret_cast<const char*>(data), size));
    } catch (const cairn::Error& error) {
        switch (error.code()) {
            case cairn::ErrorCode::bad_file:
            case cairn::ErrorCode::bad_config:
            case cairn::ErrorCode::model_mismatch:
            case cairn::ErrorCode::bad_tokenizer:
            case cairn::ErrorCode::unsupported:
            case cairn::ErrorCode::limit: break;
            default: std::fprintf(stderr, "unexpected error: %s\n", error.what()); std::abort();
        }
    }
    return 0;
}

/// What a parser accepted must be a model that can be.
template <class Recipe>
void check_possible(const Recipe& recipe) {
    const auto& c = recipe.shape;
    constexpr int most = 1 << 24;
    const bool good = c.layers > 0 && c.layers <= 1024 && c.width > 0 && c.width <= most / 8 &&
                      c.context > 0 && c.context <= most && c.vocabulary > 0 &&
                      c.vocabulary <= most && c.heads.kv_heads > 0 &&
                      c.heads.heads % c.heads.kv_heads == 0 && c.heads.key_dim > 0 &&
                      !recipe.tensors.lines().empty();
    if (good) return;
    std::fprintf(stderr, "accepted, but no model\n");
    std::abort();
}
