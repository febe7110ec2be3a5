#include "support.hpp"
using namespace support;

TEST_CASE("this build keeps the promise, and the environment is restored", "[fp_environment]") {
    CHECK(exact());
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero
    {
        const FpEnvironment environment;
        volatile float tiny = 1e-38F;
        CHECK(tiny * 0.01F > 0.0F);
    }
    CHECK((_mm_getcsr() & 0x8040) == 0x8040);
    CHECK(exact());
    _mm_setcsr(before);
#endif
}
