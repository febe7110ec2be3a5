# libedit, which edits lines of a terminal: the imported target Cairn::Editline.
find_path(CairnEditline_INCLUDE_DIR histedit.h)
find_library(CairnEditline_LIBRARY NAMES edit)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CairnEditline REQUIRED_VARS CairnEditline_LIBRARY CairnEditline_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install libedit (Debian: libedit-dev, Fedora: libedit-devel)")
mark_as_advanced(CairnEditline_INCLUDE_DIR CairnEditline_LIBRARY)
if(CairnEditline_FOUND AND NOT TARGET Cairn::Editline)
  add_library(Cairn::Editline UNKNOWN IMPORTED GLOBAL)
  set_target_properties(Cairn::Editline PROPERTIES IMPORTED_LOCATION "${CairnEditline_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${CairnEditline_INCLUDE_DIR}")
endif()
