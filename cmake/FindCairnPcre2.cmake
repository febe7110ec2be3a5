# PCRE2, 8-bit library: the imported target Cairn::Pcre2.
find_path(CairnPcre2_INCLUDE_DIR pcre2.h)
find_library(CairnPcre2_LIBRARY NAMES pcre2-8 pcre2-8-static)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CairnPcre2 REQUIRED_VARS CairnPcre2_LIBRARY CairnPcre2_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install PCRE2 (Debian: libpcre2-dev, Fedora: pcre2-devel, Homebrew: pcre2)")
mark_as_advanced(CairnPcre2_INCLUDE_DIR CairnPcre2_LIBRARY)
if(CairnPcre2_FOUND AND NOT TARGET Cairn::Pcre2)
  add_library(Cairn::Pcre2 UNKNOWN IMPORTED GLOBAL)
  set_target_properties(Cairn::Pcre2 PROPERTIES IMPORTED_LOCATION "${CairnPcre2_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${CairnPcre2_INCLUDE_DIR}")
endif()
