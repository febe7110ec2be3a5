// What the fuzz targets share: a typed error is a good end; everything else crashes, and is a bug.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <variant>

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

/// What a parser accepted must be a model that can be: an error here is a bug, and no good end.
template <class Model>
void check_possible(const Model& model) {
    try {
        std::visit([](const auto& config) { validate(config); }, model);
    } catch (const cairn::Error& error) {
        std::fprintf(stderr, "accepted, but %s\n", error.what());
        std::abort();
    }
}
