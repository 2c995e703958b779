# How the project's own code is compiled and linked.
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow $<$<BOOL:${REALM_WERROR}>:-Werror>)
# A function or a constant in a section of its own can be left out of the binary when nothing uses it.
add_compile_options(-ffunction-sections -fdata-sections)
add_link_options(-Wl,--gc-sections)

if(REALM_SANITIZE)
  add_compile_options(-fsanitize=${REALM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${REALM_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-maybe-uninitialized)  # with sanitizers GCC sees them inside of its own std::regex
  endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-fstack-protector-strong -D_FORTIFY_SOURCE=2)
  add_link_options(-Wl,-z,relro,-z,now)
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
endif()

if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(REALM_CACHE "$ENV{XDG_CACHE_HOME}/realm")
else()
  set(REALM_CACHE "$ENV{HOME}/.cache/realm")
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # One cache for every checkout and build folder.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_DIR=${REALM_CACHE}/ccache CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_MAXSIZE=2G ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
