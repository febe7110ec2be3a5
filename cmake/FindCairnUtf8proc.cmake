# utf8proc: the imported target Cairn::Utf8proc.
find_path(CairnUtf8proc_INCLUDE_DIR utf8proc.h)
find_library(CairnUtf8proc_LIBRARY NAMES utf8proc utf8proc_static)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CairnUtf8proc REQUIRED_VARS CairnUtf8proc_LIBRARY CairnUtf8proc_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install utf8proc (Debian: libutf8proc-dev, Fedora: utf8proc-devel, Homebrew: utf8proc)")
mark_as_advanced(CairnUtf8proc_INCLUDE_DIR CairnUtf8proc_LIBRARY)
if(CairnUtf8proc_FOUND AND NOT TARGET Cairn::Utf8proc)
  add_library(Cairn::Utf8proc UNKNOWN IMPORTED GLOBAL)
  set_target_properties(Cairn::Utf8proc PROPERTIES IMPORTED_LOCATION "${CairnUtf8proc_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${CairnUtf8proc_INCLUDE_DIR}")
endif()
