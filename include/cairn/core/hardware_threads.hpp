// How many threads this process may run at once: the machine's, less what an affinity mask or a
// container's CPU quota takes away.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// The first line of a file, cut to what fits; empty if there is none.
template <std::size_t size>
bool read_line(const char* path, char (&line)[size]) noexcept {
    line[0] = '\0';
    std::FILE* file = std::fopen(path, "re");
    if (file == nullptr) return false;
    const bool good = std::fgets(line, static_cast<int>(size), file) != nullptr;
    std::fclose(file);
    return good;
}

// Threads that a quota of `quota` in a period of `period` keeps busy; 0: no limit. To the nearest:
// all threads of a group are held back together, so that one of them never waits for another.
inline int quota_threads(double quota, double period) noexcept {
    if (!(quota > 0.0) || !(period > 0.0)) return 0;
    return std::max(1, static_cast<int>(std::min(quota / period + 0.5, 1e6)));
}

// The quota of one control group; 0: no limit. `folder` is its folder, of version 2 or 1.
inline int group_quota(const char* folder, bool second) noexcept {
    char path[4352];
    char line[64];
    if (second) {
        std::snprintf(path, sizeof path, "%s/cpu.max", folder);
        if (!read_line(path, line)) return 0;
        char* end = nullptr;
        const double quota = std::strtod(line, &end);  // "max 100000" or "150000 100000"
        return end == line ? 0 : quota_threads(quota, std::strtod(end, nullptr));
    }
    std::snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, line)) return 0;
    const double quota = std::strtod(line, nullptr);  // -1: none
    std::snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_line(path, line) ? quota_threads(quota, std::strtod(line, nullptr)) : 0;
}

// The tightest quota of the group at `path` below `mount` and of those above it.
inline int path_quota(const char* mount, const char* path, bool second) noexcept {
    char folder[4096];
    const int written = std::snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (written < 0 || written >= static_cast<int>(sizeof folder)) return 0;
    const std::size_t root = std::strlen(mount);
    int least = 0;
    for (std::size_t length = static_cast<std::size_t>(written);;) {
        const int quota = group_quota(folder, second);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
        if (length <= root) return least;
        while (length > root && folder[length - 1] != '/') --length;
        if (length > root) --length;
        folder[length] = '\0';
    }
}

// The quota of the groups that `list` (/proc/self/cgroup) names, mounted below `mounts`
// (/sys/fs/cgroup). A container often sees its own group as the root: that is asked, too.
inline int cgroup_quota(const char* list, const char* mounts) noexcept {
    std::FILE* file = std::fopen(list, "re");
    if (file == nullptr) return 0;
    int least = 0;
    char line[4096];
    char mount[4096];
    while (std::fgets(line, sizeof line, file) != nullptr) {  // "4:cpu,cpuacct:/path", "0::/path"
        line[std::strcspn(line, "\n")] = '\0';
        char* names = std::strchr(line, ':');
        char* path = names != nullptr ? std::strchr(names + 1, ':') : nullptr;
        if (path == nullptr) continue;
        *path++ = '\0';
        ++names;
        const bool second = *names == '\0';
        bool cpu = second;
        for (const char* at = names; !cpu && at != nullptr;
             at = std::strchr(at, ',') != nullptr ? std::strchr(at, ',') + 1 : nullptr)
            cpu = std::strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0');
        if (!cpu) continue;
        std::snprintf(mount, sizeof mount, "%.2000s%s%.2000s", mounts, second ? "" : "/", names);
        const int quota = path_quota(mount, std::strcmp(path, "/") == 0 ? "" : path, second);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
    }
    std::fclose(file);
    return least;
}

// Processors that the affinity mask of this thread leaves; 0: unknown.
inline int affinity_threads() noexcept {
#if defined(__linux__)
    for (std::size_t processors = 1024; processors <= (std::size_t{1} << 20); processors *= 4) {
        cpu_set_t* set = CPU_ALLOC(processors);
        if (set == nullptr) return 0;
        const std::size_t bytes = CPU_ALLOC_SIZE(processors);
        const bool good = ::sched_getaffinity(0, bytes, set) == 0;
        const int count = good ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (good) return count;
    }
#endif
    return 0;
}

}  // namespace internal

/// Threads that this process can run at once (at least 1): processors, less what an affinity mask
/// (taskset) or the CPU quota of a control group (a container) takes away.
inline int hardware_threads() noexcept {
    int threads = internal::affinity_threads();
    if (threads == 0) threads = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
    const int quota = internal::cgroup_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota > 0) threads = std::min(threads, quota);
#endif
    return std::max(1, threads);
}

}}  // namespace cairn
