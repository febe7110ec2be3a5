// What a cache will cost; see named/planner.hpp.
#pragma once

#include "cairn/cache/named/planner.hpp"
