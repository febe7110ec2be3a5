# One warning for a host project that would be compiled without optimisation and does not say so.
# Looked at when the whole project is read: many set the build type after they have found packages.
function(cairn_check_build_type)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CXX_FLAGS MATCHES "-O")
    message(WARNING "cairn: CMAKE_BUILD_TYPE is empty, so kernels are compiled without optimisation and run several times slower; configure with -DCMAKE_BUILD_TYPE=Release.")
  endif()
endfunction()
get_property(cairn_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
get_property(cairn_build_type_checked GLOBAL PROPERTY CAIRN_BUILD_TYPE_CHECKED)
if(NOT cairn_multi_config AND NOT cairn_build_type_checked AND CMAKE_VERSION VERSION_GREATER_EQUAL 3.19)
  set_property(GLOBAL PROPERTY CAIRN_BUILD_TYPE_CHECKED ON)
  cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL cairn_check_build_type)
endif()
