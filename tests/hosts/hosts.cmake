# The programs of every host project: the headers alone, with compiled kernels, and with all compiled.
add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Werror)
add_executable(host ../main.cpp)
target_link_libraries(host PRIVATE cairn::cairn)
add_executable(kernels_host ../main.cpp)
target_link_libraries(kernels_host PRIVATE cairn::kernels)
add_executable(io_host ../io.cpp)
target_link_libraries(io_host PRIVATE cairn::io_compiled)
