# SPDX-License-Identifier: MIT
#
# The program whose instructions ./dev instructions counts: core and lwIP with the firmware's
# options, lwIP's sockets beside them. Included by the top CMakeLists.txt; built on demand only.

find_path(VALGRIND_INCLUDE_DIR valgrind/callgrind.h)
if(NOT VALGRIND_INCLUDE_DIR OR NOT SOCKETCORE_SANITIZE STREQUAL "" OR NOT TARGET mbedtls_firmware)
    return()
endif()

set(instructions "${PROJECT_SOURCE_DIR}/bench/instructions")

add_library(lwip_instructions STATIC EXCLUDE_FROM_ALL ${lwip_sources})
target_include_directories(lwip_instructions SYSTEM PUBLIC "${LWIP_DIR}/src/include")
target_include_directories(lwip_instructions PUBLIC "${instructions}")
target_compile_options(lwip_instructions PRIVATE -w)

add_library(sc_instructions STATIC EXCLUDE_FROM_ALL ${core_sources}
    "${PROJECT_SOURCE_DIR}/src/port/firmware/service.c"
    "${PROJECT_SOURCE_DIR}/src/port/firmware/memory.c")
target_include_directories(sc_instructions PUBLIC "${PROJECT_SOURCE_DIR}/include"
    "${PROJECT_SOURCE_DIR}/src")
target_link_libraries(sc_instructions PUBLIC lwip_instructions mbedtls_firmware)
add_own_warnings(sc_instructions)

file(GLOB instructions_sources CONFIGURE_DEPENDS "${instructions}/*.c")
add_executable(instructions EXCLUDE_FROM_ALL ${instructions_sources})
target_include_directories(instructions SYSTEM PRIVATE "${VALGRIND_INCLUDE_DIR}")
# With -O2 gcc makes calls of memcpy and memset of the loops that are to be these functions.
set_source_files_properties("${instructions}/strings.c" PROPERTIES
    COMPILE_OPTIONS "-fno-builtin;-O1")
target_link_libraries(instructions PRIVATE
    "$<LINK_GROUP:RESCAN,sc_instructions,lwip_instructions,mbedtls_firmware>" Threads::Threads)
# Without it the first call of each function of the C library would count its lookup.
target_link_options(instructions PRIVATE -Wl,-z,now)
set_target_properties(instructions PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
add_own_warnings(instructions)
