// Where the fields of a GGUF file lie, and changes that keep a file mostly valid: one number of the
// header set to an edge, a string's bytes changed, an entry doubled, dropped or moved with the
// counts adjusted. Its own reading of the format: it shares nothing with the parser under test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

class GgufFields {
  public:
    struct Span {
        std::size_t at;
        std::size_t size;
    };
    std::vector<Span> numbers;   // types, counts, lengths, dimensions, offsets, scalar values
    std::vector<Span> strings;   // bytes of keys, names and values
    std::vector<Span> metadata;  // whole entries
    std::vector<Span> tensors;

    explicit GgufFields(const std::string& file) : file_(file) { walk(); }

  private:
    template <class T>
    std::optional<std::uint64_t> take() {
        T value;
        if (file_.size() - at_ < sizeof value) return {};
        std::memcpy(&value, file_.data() + at_, sizeof value);
        numbers.push_back({at_, sizeof value});
        at_ += sizeof value;
        return value;
    }
    bool scalar(std::size_t width) {
        const std::size_t at = at_;
        if (!skip(width)) return false;
        numbers.push_back({at, width});
        return true;
    }
    bool skip(std::uint64_t size) {
        if (size > file_.size() - at_) return false;
        at_ += size;
        return true;
    }
    bool text() {
        const auto size = take<std::uint64_t>();
        if (!size) return false;
        const std::size_t at = at_;
        if (!skip(*size)) return false;
        if (*size > 0) strings.push_back({at, *size});
        return true;
    }
    bool value(std::uint64_t type, int depth) {
        constexpr std::size_t width[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        if (type > 12 || depth > 3) return false;
        if (type == 8) return text();
        if (type != 9) return scalar(width[type]);
        const auto element = take<std::uint32_t>();
        const auto count = take<std::uint64_t>();
        if (!element || !count || *element > 12) return false;
        if (width[*element] > 0) {
            if (*count > file_.size()) return false;
            return *count == 0 || (scalar(width[*element]) && skip((*count - 1) * width[*element]));
        }
        for (std::uint64_t i = 0; i < *count; ++i)
            if (!value(*element, depth + 1)) return false;
        return true;
    }
    // Stops at the first thing it does not understand; what it saw until then is used.
    void walk() {
        if (!skip(4) || !take<std::uint32_t>()) return;
        const auto tensor_count = take<std::uint64_t>();
        const auto entries = take<std::uint64_t>();
        if (!tensor_count || !entries) return;
        for (std::uint64_t i = 0; i < *entries; ++i) {
            const std::size_t begin = at_;
            if (!text()) return;
            const auto type = take<std::uint32_t>();
            if (!type || !value(*type, 0)) return;
            metadata.push_back({begin, at_ - begin});
        }
        for (std::uint64_t i = 0; i < *tensor_count; ++i) {
            const std::size_t begin = at_;
            if (!text()) return;
            const auto rank = take<std::uint32_t>();
            if (!rank || *rank > 8) return;
            for (std::uint64_t d = 0; d < *rank; ++d)
                if (!take<std::uint64_t>()) return;
            if (!take<std::uint32_t>() || !take<std::uint64_t>()) return;
            tensors.push_back({begin, at_ - begin});
        }
    }

    const std::string& file_;
    std::size_t at_ = 0;
};

/// A file like `file` with one change.
inline std::string changed_gguf(std::string file, std::uint32_t seed) {
    const GgufFields fields(file);
    std::uint64_t state = seed;
    const auto below = [&](std::size_t n) {  // splitmix64
        state += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
        return static_cast<std::size_t>((z ^ (z >> 31)) % n);
    };
    const auto count_at = [&](bool tensors, std::uint64_t change) {
        std::uint64_t count;
        char* at = file.data() + (tensors ? 8 : 16);
        std::memcpy(&count, at, sizeof count);
        count += change;
        std::memcpy(at, &count, sizeof count);
    };
    const auto number = [&] {
        const auto& f = fields.numbers[below(fields.numbers.size())];
        std::uint64_t old = 0;
        std::memcpy(&old, file.data() + f.at, f.size);
        const std::uint64_t edges[] = {0,          1,           2,
                                       3,          8,           9,
                                       31,         32,          33,
                                       255,        65535,       1U << 20,
                                       1ULL << 31, 1ULL << 32,  1ULL << 62,
                                       1ULL << 63, ~0ULL,       ~0ULL - 31,
                                       old + 1,    old - 1,     old * 2,
                                       old / 2,    ~old + 1,    old + 32,
                                       old ^ 0x80, file.size(), old + (1ULL << 32)};
        const std::uint64_t value = edges[below(std::size(edges))];
        std::memcpy(file.data() + f.at, &value, f.size);
    };
    const bool tensors = below(2) == 1;
    const auto& entries = tensors ? fields.tensors : fields.metadata;
    switch (below(8)) {
        case 0:
            if (fields.strings.empty()) break;
            {
                const auto& f = fields.strings[below(fields.strings.size())];
                const std::size_t from = f.at + below(f.size);
                constexpr unsigned char bytes[] = {0,   1,    ' ',  '.',  '/',
                                                   'a', 0x7F, 0x80, 0xC3, 0xFF};
                file[from] = static_cast<char>(bytes[below(std::size(bytes))]);
            }
            break;
        case 1:
            if (entries.empty()) break;
            {
                const auto e = entries[below(entries.size())];
                file.erase(e.at, e.size);
                count_at(tensors, ~0ULL);
            }
            break;
        case 2:
            if (entries.empty()) break;
            {
                const auto e = entries[below(entries.size())];
                const auto to = entries[below(entries.size())];
                file.insert(to.at, file.substr(e.at, e.size));
                count_at(tensors, 1);
            }
            break;
        case 3:
            if (entries.size() < 2) break;
            {
                const std::size_t i = below(entries.size() - 1);
                const auto a = entries[i];
                const auto b = entries[i + 1];
                std::rotate(file.begin() + static_cast<std::ptrdiff_t>(a.at),
                            file.begin() + static_cast<std::ptrdiff_t>(b.at),
                            file.begin() + static_cast<std::ptrdiff_t>(b.at + b.size));
            }
            break;
        case 4: file.resize(file.size() - below(std::min<std::size_t>(file.size(), 64))); break;
        default:
            if (!fields.numbers.empty()) number();
    }
    return file;
}
