# The kernels of src/kernels/sets, once for each instruction set, into the target `library`. The objects of a set are linked into one in
# which every symbol but its table is local: otherwise the AVX-512 copy of an inline function could stand in for everyone's.
function(realm_kernel_set library name)
  file(GLOB sources CONFIGURE_DEPENDS src/kernels/sets/*.cpp)
  set(symbol realm_kernel_set_${name})
  add_library(kernels_${name} OBJECT ${sources})
  target_include_directories(kernels_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_compile_definitions(kernels_${name} PRIVATE REALM_KERNEL_SET=${symbol})
  # ISO mode would keep multiplications and additions apart. A vector wider than the set's own is only passed around inside of it.
  target_compile_options(kernels_${name} PRIVATE -O3 -ffp-contract=fast -Wno-psabi ${ARGN})
  if(REALM_SANITIZE STREQUAL "thread")
    # The threads of a product meet in ggml's barrier, which ThreadSanitizer cannot see: each value handed over would be a report.
    target_compile_options(kernels_${name} PRIVATE -fno-sanitize=thread)
  endif()
  set(object ${CMAKE_CURRENT_BINARY_DIR}/kernels_${name}.o)
  add_custom_command(OUTPUT ${object} DEPENDS kernels_${name} $<TARGET_OBJECTS:kernels_${name}> COMMAND_EXPAND_LISTS VERBATIM
    COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o ${object}.all $<TARGET_OBJECTS:kernels_${name}>
    COMMAND ${CMAKE_OBJCOPY} --keep-global-symbol=${symbol} ${object}.all ${object})
  target_sources(${library} PRIVATE ${object})
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
endfunction()

if(TARGET realm_kernels AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(avx2 -msse4.2 -mavx -mavx2 -mf16c -mfma -mbmi2)
  set(avx512 ${avx2} -mavx512f -mavx512cd -mavx512vl -mavx512dq -mavx512bw -mavx512vnni)
  realm_kernel_set(realm_kernels haswell ${avx2})
  realm_kernel_set(realm_kernels icelake ${avx512})
  realm_kernel_set(realm_kernels sapphirerapids ${avx512} -mamx-tile -mamx-int8)
  # The code of AVX2 for vectors of 64 bytes, so that nothing in it takes the width for granted.
  realm_kernel_set(realm_kernels_test wide ${avx2} -O1 -DREALM_LANES=16)
endif()
