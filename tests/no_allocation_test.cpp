// Decoding in steady state allocates nothing: operator new is counted and Eigen's own is forbidden.
#define EIGEN_RUNTIME_NO_MALLOC
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <cairn/cairn.hpp>

namespace {
std::atomic<long> allocations{0};
void* counted(std::size_t bytes, std::size_t align) {
    ++allocations;
    void* p = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}
}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t align) {
    return counted(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

template <class Cache>
long steady(cairn::Executor& executor) {
    const auto model =
        cairn::TinyGpt::random({.layers = 3, .heads = 4, .width = 64, .vocab = 300}, 1);
    auto session = model.session<Cache>(900, executor);
    const std::vector<cairn::Token> prompt(600, 7);
    session.prefill(prompt);
    cairn::Token token = 1;
    cairn::Greedy greedy;
    auto sampler =
        cairn::temperature(0.9F) | cairn::top_k(40) | cairn::top_p(0.9F) | cairn::draw(1);
    for (int i = 0; i < 3; ++i) token = sampler(session.decode(token), {});
    const long before = allocations;
    Eigen::internal::set_is_malloc_allowed(false);
    for (int i = 0; i < 200; ++i)
        token = i % 2 == 0 ? sampler(session.decode(token), {}) : greedy(session.decode(token), {});
    Eigen::internal::set_is_malloc_allowed(true);
    return allocations - before;
}

int main() {
    cairn::ThreadPool pool(3);
    const long counts[] = {
        steady<cairn::KvCache<>>(cairn::Serial::instance()),
        steady<cairn::KvCache<cairn::Contiguous<cairn::F16>>>(pool),
        steady<cairn::KvCache<cairn::Contiguous<cairn::BF16, cairn::F32>>>(pool)};
    bool good = true;
    for (const long count : counts) {
        std::printf("%ld allocations in 200 tokens\n", count);
        good = good && count == 0;
    }
    return good ? 0 : 1;
}
