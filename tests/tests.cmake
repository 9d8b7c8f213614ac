# One program a file: tests/test_NAME.c is test `NAME`, linked with everything and with the allocator wrapped so that
# a test can make the nth allocation fail (tests/support_alloc.c).
file(GLOB test_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/test_*.c")
file(GLOB test_support CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/support_*.c")
if(test_support)
	add_library(gloss_test_support OBJECT ${test_support})
	target_link_libraries(gloss_test_support PUBLIC gloss_cli PkgConfig::CHECK PkgConfig::MICROHTTPD)
endif()
foreach(source ${test_sources})
	get_filename_component(stem "${source}" NAME_WE)
	string(REPLACE "test_" "" name "${stem}")
	add_executable(${stem} "${source}")
	target_link_libraries(${stem} PRIVATE gloss_cli PkgConfig::CHECK PkgConfig::MICROHTTPD)
	if(test_support)
		target_link_libraries(${stem} PRIVATE gloss_test_support)
		target_link_options(${stem} PRIVATE -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc)
	endif()
	add_test(NAME ${name} COMMAND ${stem})
	set_tests_properties(${name} PROPERTIES TIMEOUT 600
		ENVIRONMENT "GLOSS_BIN=$<TARGET_FILE:gloss>;GLOSS_SOURCE=${CMAKE_CURRENT_SOURCE_DIR}")
endforeach()

set_tests_properties(http2 PROPERTIES SKIP_RETURN_CODE 77) # without nghttpx

# Fuzz targets: tests/fuzz_NAME.c runs as test `fuzz_NAME` on a fixed series of mutated inputs (see tests/fuzz.h).
file(GLOB fuzz_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/fuzz_*.c")
list(FILTER fuzz_sources EXCLUDE REGEX "/fuzz_main\\.c$")
foreach(source ${fuzz_sources})
	get_filename_component(stem "${source}" NAME_WE)
	add_executable(${stem} "${source}" "${CMAKE_CURRENT_LIST_DIR}/fuzz_main.c")
	target_link_libraries(${stem} PRIVATE gloss_sae gloss_store gloss_explain)
	add_test(NAME ${stem} COMMAND ${stem})
	set_tests_properties(${stem} PROPERTIES TIMEOUT 600)
endforeach()

# Tests that are scripts: the command line's golden cases, and checks of the sources and of what is made from them.
set(golden cli_golden_1 cli_golden_2 cli_golden_3 cli_golden_4) # in parts, for more than one CPU
foreach(script ${golden} check_arrows check_headers check_man check_sizes check_store_doc)
	if(script MATCHES "^cli_golden_(.)")
		add_test(NAME ${script} COMMAND sh "${CMAKE_CURRENT_LIST_DIR}/cli.sh" --part ${CMAKE_MATCH_1}/4)
	else()
		add_test(NAME ${script} COMMAND sh "${CMAKE_CURRENT_LIST_DIR}/${script}.sh")
	endif()
	set_tests_properties(${script} PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77
		ENVIRONMENT "GLOSS_BIN=$<TARGET_FILE:gloss>;GLOSS_SOURCE=${CMAKE_CURRENT_SOURCE_DIR}")
	if(script MATCHES "^check_")
		set_tests_properties(${script} PROPERTIES LABELS check)
	endif()
endforeach()
set_tests_properties(${golden} PROPERTIES COST 100) # the longest go first
# What runs threads, for the thread sanitizer.
foreach(name base_pool loader rows encode eval formats step train resume index client engine)
	if(TEST ${name})
		set_tests_properties(${name} PROPERTIES LABELS threads)
	endif()
endforeach()
# Whole programs together: minutes of both CPUs; llm_real, datasette, convert, splice and subject take Python packages from PyPI.
foreach(script demo kill llm_real datasette convert splice subject browser)
	string(REPLACE llm_real llm file ${script})
	add_test(NAME ${script} COMMAND sh "${CMAKE_CURRENT_LIST_DIR}/${file}.sh")
	set_tests_properties(${script} PROPERTIES TIMEOUT 1200 LABELS slow RUN_SERIAL ON
		ENVIRONMENT "GLOSS_BIN=$<TARGET_FILE:gloss>;GLOSS_SOURCE=${CMAKE_CURRENT_SOURCE_DIR}")
endforeach()
set_tests_properties(browser PROPERTIES RUN_SERIAL OFF SKIP_RETURN_CODE 77) # short; without chromium
