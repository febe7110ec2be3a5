#include <sched.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "session_support.hpp"
using namespace support;

namespace {

void write(const std::filesystem::path& path, const char* text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("threads by default are those an affinity mask leaves", "[hardware_threads]") {
    CHECK(hardware_threads() >= 1);
#if defined(__linux__)
    int threads = 0;
    std::thread([&] {  // the mask is a thread's own
        cpu_set_t all;
        cpu_set_t one;
        CPU_ZERO(&one);
        ::sched_getaffinity(0, sizeof all, &all);
        for (int i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &all)) {
                CPU_SET(i, &one);
                break;
            }
        ::sched_setaffinity(0, sizeof one, &one);
        threads = hardware_threads();
    })
        .join();
    CHECK(threads == 1);
#endif
}

TEST_CASE("threads by default keep to the quota of the control group", "[hardware_threads]") {
    const Folder folder;
    const std::string list = folder.file("list");
    const std::string mounts = folder.file("cgroup");
    const auto quota = [&](const char* groups) {
        write(list, groups);
        return internal::cgroup_quota(list.c_str(), mounts.c_str());
    };
    CHECK(internal::cgroup_quota(folder.file("none").c_str(), mounts.c_str()) == 0);
    CHECK(quota("0::/\n") == 0);
    // Version 2: the tightest of the group and those above it.
    write(mounts + "/cpu.max", "max 100000\n");
    write(mounts + "/a/cpu.max", "800000 100000\n");
    write(mounts + "/a/b/cpu.max", "max 100000\n");
    write(mounts + "/a/c/cpu.max", "250000 100000\n");
    CHECK(quota("0::/\n") == 0);
    CHECK(quota("0::/a\n") == 8);
    CHECK(quota("0::/a/b\n") == 8);
    CHECK(quota("0::/a/c\n") == 3);
    CHECK(quota("0::/gone/from/here\n") == 0);  // a container's view: its own group is the root
    write(mounts + "/cpu.max", "150000 100000");
    CHECK(quota("0::/gone/from/here\n") == 2);
    CHECK(quota("0::/a/c\n") == 2);
    write(mounts + "/cpu.max", "1000 100000");
    CHECK(quota("0::/\n") == 1);
    write(mounts + "/cpu.max", "nonsense");
    CHECK(quota("0::/\n") == 0);
    // Version 1, with its controllers in any company.
    write(mounts + "/cpu,cpuacct/d/cpu.cfs_quota_us", "400000\n");
    write(mounts + "/cpu,cpuacct/d/cpu.cfs_period_us", "100000\n");
    write(mounts + "/cpu,cpuacct/e/cpu.cfs_quota_us", "-1\n");
    write(mounts + "/cpu,cpuacct/e/cpu.cfs_period_us", "100000\n");
    write(mounts + "/cpuset/d/cpu.cfs_quota_us", "100000\n");
    write(mounts + "/cpuset/d/cpu.cfs_period_us", "100000\n");
    CHECK(quota("12:cpuset:/d\n4:cpu,cpuacct:/d\n") == 4);
    CHECK(quota("4:cpu,cpuacct:/d/e/f\n0::/\n") == 4);
    CHECK(quota("4:cpu,cpuacct:/e\n") == 0);
    CHECK(quota("12:cpuset:/d\n") == 0);
    CHECK(quota("damaged\n:\n::\n1:cpu\n") == 0);
}
