// Includes one file of every instruction set: CAIRN_FILE of its own folder (CAIRN_FOLDER set) or of
// the folder of its kernels of floats (CAIRN_FOLDER floats). The preprocessor has no loops, so there
// is a line a place in the list; those past its end include the list, which does nothing.

#define CAIRN_TEXT_OF(...) #__VA_ARGS__
#define CAIRN_TEXT(...) CAIRN_TEXT_OF(__VA_ARGS__)
#define CAIRN_PATH_set(set, floats, ...) CAIRN_TEXT(cairn/kernels/set/CAIRN_FILE),
#define CAIRN_PATH_floats(set, floats, ...) CAIRN_TEXT(cairn/kernels/floats/CAIRN_FILE),
#define CAIRN_JOIN_OF(a, b) a##b
#define CAIRN_JOIN(a, b) CAIRN_JOIN_OF(a, b)
#define CAIRN_NONE "cairn/kernels/sets.hpp"
#define CAIRN_PATHS                                                               \
    CAIRN_KERNEL_SETS(CAIRN_JOIN(CAIRN_PATH_, CAIRN_FOLDER), )                    \
    CAIRN_NONE, CAIRN_NONE, CAIRN_NONE, CAIRN_NONE, CAIRN_NONE, CAIRN_NONE, CAIRN_NONE, CAIRN_NONE
#define CAIRN_NINTH_OF(a, b, c, d, e, f, g, h, path, ...) path
#define CAIRN_NINTH(...) CAIRN_NINTH_OF(__VA_ARGS__)

#include CAIRN_NINTH(, , , , , , , , CAIRN_PATHS)

#include CAIRN_NINTH(, , , , , , , CAIRN_PATHS)

#include CAIRN_NINTH(, , , , , , CAIRN_PATHS)

#include CAIRN_NINTH(, , , , , CAIRN_PATHS)

#include CAIRN_NINTH(, , , , CAIRN_PATHS)

#include CAIRN_NINTH(, , , CAIRN_PATHS)

#include CAIRN_NINTH(, , CAIRN_PATHS)

#include CAIRN_NINTH(, CAIRN_PATHS)

#undef CAIRN_TEXT_OF
#undef CAIRN_TEXT
#undef CAIRN_PATH_set
#undef CAIRN_PATH_floats
#undef CAIRN_JOIN_OF
#undef CAIRN_JOIN
#undef CAIRN_NONE
#undef CAIRN_PATHS
#undef CAIRN_NINTH_OF
#undef CAIRN_NINTH
#undef CAIRN_FOLDER
#undef CAIRN_FILE
