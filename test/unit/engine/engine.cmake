# SPDX-License-Identifier: MIT
#
# The crypto engine beside mbedTLS's own code: both must give the same answers. Included by the top
# CMakeLists.txt.

if(NOT TARGET sc_engine)
    return()
endif()

# Once more, with the same configuration but for the engine.
add_library(mbedtls_reference STATIC ${mbedtls_sources})
target_include_directories(mbedtls_reference SYSTEM PUBLIC "${MBEDTLS_DIR}/include"
    PRIVATE "${MBEDTLS_DIR}/library")
target_compile_definitions(mbedtls_reference
    PUBLIC "MBEDTLS_CONFIG_FILE=\"${port_dir}/mbedtls_config.h\"" PRIVATE _GNU_SOURCE)
target_compile_options(mbedtls_reference PRIVATE -w)

foreach(side engine reference)
    add_executable(answers_${side} "${CMAKE_CURRENT_LIST_DIR}/answers.c")
    set_target_properties(answers_${side} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/test")
    add_own_warnings(answers_${side})
endforeach()
target_link_libraries(answers_engine PRIVATE sc_mbedtls)
target_link_libraries(answers_reference PRIVATE mbedtls_reference)
add_test(NAME engine COMMAND sh "${CMAKE_CURRENT_LIST_DIR}/compare.sh"
    $<TARGET_FILE:answers_engine> $<TARGET_FILE:answers_reference>)
set_tests_properties(engine PROPERTIES TIMEOUT 120)
