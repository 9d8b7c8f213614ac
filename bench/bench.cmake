# One program a file: bench/bench_NAME.c. Built with everything, run by hand, never as a test.
file(GLOB bench_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/bench_*.c")
foreach(source ${bench_sources})
	get_filename_component(stem "${source}" NAME_WE)
	add_executable(${stem} "${source}" "${CMAKE_CURRENT_LIST_DIR}/rows.c")
	target_link_libraries(${stem} PRIVATE gloss_cli)
endforeach()
target_sources(bench_store PRIVATE "${CMAKE_CURRENT_LIST_DIR}/made_store.c")
target_sources(bench_jobs PRIVATE "${CMAKE_CURRENT_LIST_DIR}/../tests/support_planted.c")
target_sources(bench_oracle PRIVATE "${CMAKE_CURRENT_LIST_DIR}/../tests/support_planted.c"
	"${CMAKE_CURRENT_LIST_DIR}/../tests/support_oracle.c"
	"${CMAKE_CURRENT_LIST_DIR}/../tests/support_subject.c")
foreach(served bench_client bench_jobs bench_oracle)
	target_sources(${served} PRIVATE "${CMAKE_CURRENT_LIST_DIR}/../tests/support_llm.c")
	target_link_libraries(${served} PRIVATE PkgConfig::MICROHTTPD)
endforeach()
