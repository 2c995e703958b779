# Third-party code. What is pinned in third_party/Cargo.lock is fetched and hash-checked by cargo, built once into the user's
# cache under a key of everything that it is built from, and only imported here. The rest are packages of the system.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(spdlog REQUIRED)
find_package(GTest REQUIRED)
find_package(CLI11 REQUIRED)
# Static, as the shared one would bring a second C++ runtime into a binary that has its own.
set(Boost_USE_STATIC_LIBS ON)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(PkgConfig REQUIRED)
pkg_check_modules(seccomp REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(curl REQUIRED IMPORTED_TARGET libcurl)
find_program(CARGO cargo REQUIRED)

set(third_party ${CMAKE_CURRENT_SOURCE_DIR}/third_party)
set(pins Cargo.lock Cargo.toml wasmtime/Cargo.toml wasmtime/src/lib.rs)
set(llama_recipe llama/CMakeLists.txt llama/cpu_variant.cpp llama/llama_cpu_variant.h)
list(TRANSFORM pins PREPEND ${third_party}/)
list(TRANSFORM llama_recipe PREPEND ${third_party}/)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${pins} ${llama_recipe})

execute_process(COMMAND ${CARGO} metadata --format-version 1 --locked --offline WORKING_DIRECTORY ${third_party}
                OUTPUT_VARIABLE metadata RESULT_VARIABLE not_fetched_yet ERROR_QUIET)
if(not_fetched_yet)
  message(NOTICE "-- fetching pinned sources")
  execute_process(COMMAND ${CARGO} fetch --locked WORKING_DIRECTORY ${third_party} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CARGO} metadata --format-version 1 --locked --offline WORKING_DIRECTORY ${third_party}
                  OUTPUT_VARIABLE metadata COMMAND_ERROR_IS_FATAL ANY)
endif()
if(NOT metadata MATCHES "\"manifest_path\":\"([^\"]*/llama-cpp-sys-2-[0-9][^\"/]*)/Cargo.toml\"")
  message(FATAL_ERROR "llama-cpp-sys-2 is not in third_party/Cargo.lock")
endif()
set(REALM_LLAMA_SOURCE_DIR ${CMAKE_MATCH_1}/llama.cpp)
if(NOT metadata MATCHES "\"manifest_path\":\"([^\"]*/libsqlite3-sys-[0-9][^\"/]*)/Cargo.toml\"")
  message(FATAL_ERROR "libsqlite3-sys is not in third_party/Cargo.lock")
endif()
set(REALM_SQLITE_SOURCE_DIR ${CMAKE_MATCH_1}/sqlite3)

# The folder of the cache for `name`, whose key is made of the given files' contents and of the given text.
function(realm_cache_folder name out)
  cmake_parse_arguments(PARSE_ARGV 2 key "" "" "FILES;TEXT")
  set(inputs "${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR} ${key_TEXT}")
  foreach(file ${key_FILES})
    file(SHA256 ${file} hash)
    string(APPEND inputs " ${hash}")
  endforeach()
  string(SHA256 key "${inputs}")
  string(SUBSTRING ${key} 0 16 key)
  set(${out} ${REALM_CACHE}/third_party/${name}-${key} PARENT_SCOPE)
endfunction()

# Calls `realm_build_<name>(work result)` unless the folder is there. A lock lets one configure build while others wait, and the
# result appears under its name by one rename, so that no half-built folder is ever used.
function(realm_build_once name folder)
  if(EXISTS ${folder})
    return()
  endif()
  file(MAKE_DIRECTORY ${REALM_CACHE}/third_party)
  file(LOCK ${folder}.lock GUARD FUNCTION RESULT_VARIABLE busy TIMEOUT 0)
  if(busy)
    message(NOTICE "-- waiting for another build of ${name}")
    file(LOCK ${folder}.lock GUARD FUNCTION)
    if(EXISTS ${folder})
      return()
    endif()
  endif()
  message(NOTICE "-- building ${name} into ${folder} (once; it takes minutes)")
  string(TIMESTAMP start %s)
  cmake_language(CALL realm_build_${name} ${folder}.work ${folder}.work/result)
  file(RENAME ${folder}.work/result ${folder})
  file(REMOVE_RECURSE ${folder}.work)
  string(TIMESTAMP end %s)
  math(EXPR seconds "${end} - ${start}")
  message(NOTICE "-- built ${name} in ${seconds} s")
endfunction()

function(realm_build_llama work result)
  cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
  execute_process(COMMAND ${CMAKE_COMMAND} -G Ninja -S ${third_party}/llama -B ${work}
    -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER} -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
    "-DCMAKE_C_COMPILER_LAUNCHER=${CMAKE_C_COMPILER_LAUNCHER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}"
    -DLLAMA_SOURCE_DIR=${REALM_LLAMA_SOURCE_DIR} -DBUNDLE=${result} -DREALM_CUDA=${REALM_CUDA}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "configuring llama.cpp failed:\n${output}")
  endif()
  execute_process(COMMAND ${CMAKE_COMMAND} -E env "NINJA_STATUS=[llama.cpp %f/%t] " ${CMAKE_COMMAND} --build ${work} --target bundle
    --parallel ${cores} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(realm_build_wasmtime work result)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${work} CC=${CMAKE_C_COMPILER} CXX=${CMAKE_CXX_COMPILER}
    ${CARGO} build --release --locked --package realm-wasmtime WORKING_DIRECTORY ${third_party} COMMAND_ERROR_IS_FATAL ANY)
  file(GLOB headers ${work}/release/build/wasmtime-c-api-impl-*/out/include)
  file(COPY ${work}/release/librealm_wasmtime.a ${headers} DESTINATION ${result})
endfunction()

set(sqlite_options -O2 -fPIC -DSQLITE_THREADSAFE=1 -DSQLITE_DQS=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_DEFAULT_FOREIGN_KEYS=1
  -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_MAX_EXPR_DEPTH=0)
function(realm_build_sqlite work result)
  file(MAKE_DIRECTORY ${work} ${result})
  execute_process(COMMAND ${CMAKE_C_COMPILER} ${sqlite_options} -c ${REALM_SQLITE_SOURCE_DIR}/sqlite3.c -o ${work}/sqlite3.o
    COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_AR} rcs ${result}/libsqlite3.a ${work}/sqlite3.o COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(compiler "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
execute_process(COMMAND ${CARGO} --version OUTPUT_VARIABLE cargo_version COMMAND_ERROR_IS_FATAL ANY)
# Of the lock file only llama.cpp's own entry, so that another package's update does not cost a build of it.
file(READ ${third_party}/Cargo.lock lock)
string(REGEX MATCH "name = \"llama-cpp-sys-2\"[^[]*" llama_pin "${lock}")
realm_cache_folder(llama llama FILES ${llama_recipe} TEXT "${llama_pin} ${compiler} cuda=${REALM_CUDA}")
string(REGEX MATCH "name = \"libsqlite3-sys\"[^[]*" sqlite_pin "${lock}")
# And for Wasmtime, which has hundreds of entries, everything but the sources that cargo does not build.
string(REGEX REPLACE "\\[\\[package\\]\\]\nname = \"libsqlite3-sys\"[^[]*" "" wasmtime_lock "${lock}")
string(REPLACE " \"libsqlite3-sys\",\n" "" wasmtime_lock "${wasmtime_lock}")
file(READ ${third_party}/Cargo.toml manifest)
string(REGEX REPLACE "libsqlite3-sys = [^\n]*\n" "" manifest "${manifest}")
string(SHA256 lock_hash "${wasmtime_lock}")
string(SHA256 manifest_hash "${manifest}")
realm_cache_folder(wasmtime wasmtime FILES ${third_party}/wasmtime/Cargo.toml ${third_party}/wasmtime/src/lib.rs
  TEXT "${compiler} ${cargo_version} ${lock_hash} ${manifest_hash}")
realm_cache_folder(sqlite sqlite TEXT "${sqlite_pin} ${sqlite_options} ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
realm_build_once(llama ${llama})
realm_build_once(wasmtime ${wasmtime})
realm_build_once(sqlite ${sqlite})

add_library(realm_wasmtime INTERFACE)
add_library(realm::wasmtime ALIAS realm_wasmtime)
target_include_directories(realm_wasmtime SYSTEM INTERFACE ${wasmtime}/include)
target_link_libraries(realm_wasmtime INTERFACE ${wasmtime}/librealm_wasmtime.a Threads::Threads ${CMAKE_DL_LIBS} m)

add_library(realm_sqlite INTERFACE)
add_library(realm::sqlite ALIAS realm_sqlite)
target_include_directories(realm_sqlite SYSTEM INTERFACE ${REALM_SQLITE_SOURCE_DIR})
target_link_libraries(realm_sqlite INTERFACE ${sqlite}/libsqlite3.a Threads::Threads m)

# The internal headers (src) are for the book-keeping of KV pages, and for kernels that extend ggml-cpu.
add_library(realm_llama INTERFACE)
add_library(realm::llama ALIAS realm_llama)
target_include_directories(realm_llama SYSTEM INTERFACE ${REALM_LLAMA_SOURCE_DIR}/include ${REALM_LLAMA_SOURCE_DIR}/ggml/include
  ${REALM_LLAMA_SOURCE_DIR}/src ${REALM_LLAMA_SOURCE_DIR}/ggml/src ${third_party}/llama)
target_link_options(realm_llama INTERFACE -Wl,--wrap=ggml_backend_cpu_reg)
set(cuda)
if(REALM_CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(cuda ${llama}/libggml-cuda.a CUDA::cudart CUDA::cublas)
endif()
target_link_libraries(realm_llama INTERFACE ${llama}/libllama.a ${llama}/libggml.a ${llama}/libcpu_variants.a ${llama}/libggml-cpu.a
  ${cuda} ${llama}/libggml-base.a Threads::Threads ${CMAKE_DL_LIBS} m)

# For tests and benchmarks, which compare with what llama.cpp's own programs do.
add_library(realm_llama_common INTERFACE)
add_library(realm::llama_common ALIAS realm_llama_common)
target_include_directories(realm_llama_common SYSTEM INTERFACE ${REALM_LLAMA_SOURCE_DIR}/common ${REALM_LLAMA_SOURCE_DIR}/vendor)
target_link_libraries(realm_llama_common INTERFACE ${llama}/libllama-common.a ${llama}/libllama-common-base.a
  ${llama}/libcpp-httplib.a realm::llama)

add_library(realm_libedit INTERFACE)
add_library(realm::libedit ALIAS realm_libedit)
foreach(name edit bsd md tinfo)
  find_library(archive_${name} lib${name}.a REQUIRED)
  target_link_libraries(realm_libedit INTERFACE ${archive_${name}})
endforeach()

add_library(realm_spdlog STATIC ${third_party}/spdlog/spdlog.cpp)
add_library(realm::spdlog ALIAS realm_spdlog)
target_compile_definitions(realm_spdlog PUBLIC SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
target_link_libraries(realm_spdlog PUBLIC Threads::Threads)
