// Times, and what many of them say.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The time of one call.
template <class Body>
double timed(Body&& body) {
    const auto start = Clock::now();
    body();
    return seconds_since(start);
}

/// The samples of one quantity over the rounds of a run.
struct Samples {
    std::vector<double> values;
    void add(double v) { values.push_back(v); }
    double median() const { return quantile(0.5); }
    double least() const { return quantile(0.0); }
    double most() const { return quantile(1.0); }

    double quantile(double q) const {
        std::vector<double> sorted = values;
        std::sort(sorted.begin(), sorted.end());
        return sorted.empty() ? 0.0
                              : sorted[static_cast<std::size_t>(
                                    q * static_cast<double>(sorted.size() - 1) + 0.5)];
    }
};

}  // namespace bench
