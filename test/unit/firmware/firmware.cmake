# SPDX-License-Identifier: MIT
#
# The three-thread configuration of src/port/firmware on this machine: lwIP, mbedTLS and the core
# once more, with the firmware's options. Included by the top CMakeLists.txt.

if(NOT CMOCKA_LIBRARY)
    find_path(CMOCKA_INCLUDE_DIR cmocka.h)
    find_library(CMOCKA_LIBRARY cmocka)
endif()
if(NOT CMOCKA_INCLUDE_DIR OR NOT CMOCKA_LIBRARY)
    return()
endif()

set(firmware_port "${PROJECT_SOURCE_DIR}/src/port/firmware")
set(firmware_test "${PROJECT_SOURCE_DIR}/test/unit/firmware")

add_library(mbedtls_firmware STATIC ${mbedtls_sources})
target_include_directories(mbedtls_firmware SYSTEM PUBLIC "${MBEDTLS_DIR}/include")
target_include_directories(mbedtls_firmware PUBLIC "${firmware_port}"
    PRIVATE "${MBEDTLS_DIR}/library")
target_compile_definitions(mbedtls_firmware PUBLIC "MBEDTLS_CONFIG_FILE=<mbedtls_config.h>")
target_compile_options(mbedtls_firmware PRIVATE -w)

# Two programs of the same tests: `pools` has the memory of the device, and shows what leaks from a
# pool; `heap` has malloc, and shows what is used after it was freed.
set(timers_pools "")
set(timers_heap "${port_dir}/timeouts.c")
foreach(memory pools heap)
    add_library(lwip_firmware_${memory} STATIC ${lwip_sources} ${timers_${memory}})
    target_include_directories(lwip_firmware_${memory} SYSTEM PUBLIC "${LWIP_DIR}/src/include")
    target_include_directories(lwip_firmware_${memory} PUBLIC "${firmware_test}")
    target_compile_options(lwip_firmware_${memory} PRIVATE -w)
    target_link_libraries(lwip_firmware_${memory} PUBLIC Threads::Threads)
    if(memory STREQUAL heap)
        target_compile_definitions(lwip_firmware_${memory} PUBLIC SC_TEST_HEAP)
    endif()

    add_library(sc_firmware_${memory} STATIC ${core_sources} "${firmware_port}/service.c"
        "${firmware_port}/memory.c")
    target_include_directories(sc_firmware_${memory} PUBLIC "${PROJECT_SOURCE_DIR}/include"
        "${PROJECT_SOURCE_DIR}/src")
    target_link_libraries(sc_firmware_${memory} PUBLIC lwip_firmware_${memory} mbedtls_firmware)
    target_compile_definitions(sc_firmware_${memory} PRIVATE SC_SERVICE_START_MS=200)
    add_own_warnings(sc_firmware_${memory})

    add_executable(test_firmware_${memory} "${firmware_test}/test_firmware.c"
        "${firmware_test}/sys_arch.c")
    target_compile_definitions(test_firmware_${memory} PRIVATE _GNU_SOURCE)
    target_include_directories(test_firmware_${memory} SYSTEM PRIVATE "${CMOCKA_INCLUDE_DIR}")
    target_link_libraries(test_firmware_${memory} PRIVATE
        "$<LINK_GROUP:RESCAN,sc_firmware_${memory},lwip_firmware_${memory},mbedtls_firmware>"
        "${CMOCKA_LIBRARY}")
    set_target_properties(test_firmware_${memory} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/test")
    add_own_warnings(test_firmware_${memory})
    add_test(NAME test_firmware_${memory} COMMAND test_firmware_${memory})
    set_tests_properties(test_firmware_${memory} PROPERTIES TIMEOUT 120)
endforeach()

# TLS 1.3 as mbedtls_config.h has it: mbedTLS checks there that nothing is missing.
add_library(mbedtls_firmware_tls13 OBJECT "${MBEDTLS_DIR}/library/ssl_tls.c"
    "${MBEDTLS_DIR}/library/ssl_tls13_client.c" "${MBEDTLS_DIR}/library/psa_crypto.c")
target_include_directories(mbedtls_firmware_tls13 PRIVATE "${MBEDTLS_DIR}/include"
    "${firmware_port}" "${MBEDTLS_DIR}/library")
target_compile_definitions(mbedtls_firmware_tls13 PRIVATE SC_FIRMWARE_TLS13
    "MBEDTLS_CONFIG_FILE=<mbedtls_config.h>")
target_compile_options(mbedtls_firmware_tls13 PRIVATE -w)

# The example is documentation that compiles, and does what it says without assertions too.
add_library(sc_firmware_example OBJECT "${firmware_port}/post_example.c")
target_include_directories(sc_firmware_example PRIVATE "${PROJECT_SOURCE_DIR}/include")
target_include_directories(sc_firmware_example SYSTEM PRIVATE "${LUA_INCLUDE_DIR}")
target_link_libraries(sc_firmware_example PRIVATE lwip_firmware_pools)
add_own_warnings(sc_firmware_example)
target_compile_definitions(sc_firmware_example PRIVATE LWIP_NOASSERT)
add_test(NAME firmware_example COMMAND sh -c "nm '$<TARGET_OBJECTS:sc_firmware_example>' | grep -q sys_mbox_new")

# With the binding in a Lua state.
find_library(LUA_LIBRARY NAMES lua${SOCKETCORE_LUA} lua-${SOCKETCORE_LUA} NO_CACHE)
if(LUA_LIBRARY)
    add_executable(test_firmware_example "${firmware_test}/test_example.c"
        "${firmware_test}/sys_arch.c" ${binding_sources} $<TARGET_OBJECTS:sc_firmware_example>)
    target_compile_definitions(test_firmware_example PRIVATE _GNU_SOURCE)
    target_include_directories(test_firmware_example SYSTEM PRIVATE
        "${CMOCKA_INCLUDE_DIR}" "${LUA_INCLUDE_DIR}")
    target_link_libraries(test_firmware_example PRIVATE
        "$<LINK_GROUP:RESCAN,sc_firmware_pools,lwip_firmware_pools,mbedtls_firmware>"
        "${LUA_LIBRARY}" "${CMOCKA_LIBRARY}")
    set_target_properties(test_firmware_example PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/test")
    add_own_warnings(test_firmware_example)
    add_test(NAME test_firmware_example COMMAND test_firmware_example)
    set_tests_properties(test_firmware_example PROPERTIES TIMEOUT 120)
endif()
