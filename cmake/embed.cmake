# embed_text(TARGET SYMBOL FILE): adds to TARGET a C array `const char SYMBOL[]` (NUL at its end, not counted in
# `const unsigned SYMBOL_size`) with the bytes of FILE, made anew whenever FILE changes.
set(EMBED_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")
if(CMAKE_SCRIPT_MODE_FILE) # the build step: cmake -DIN= -DOUT= -DSYMBOL= -P embed.cmake
	file(READ "${IN}" hex HEX)
	string(LENGTH "${hex}" digits)
	math(EXPR size "${digits} / 2")
	string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
	string(REGEX REPLACE "(('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',)('[^']*',))" "\\1\n" bytes "${bytes}")
	file(WRITE "${OUT}" "/* Made from ${SYMBOL}'s source by cmake/embed.cmake. */\n"
		"extern const char ${SYMBOL}[];\nextern const unsigned ${SYMBOL}_size;\n"
		"const char ${SYMBOL}[] = {\n${bytes}'\\0' };\nconst unsigned ${SYMBOL}_size = ${size};\n")
	return()
endif()
function(embed_text target symbol file)
	set(out "${CMAKE_CURRENT_BINARY_DIR}/embed/${symbol}.c")
	add_custom_command(OUTPUT "${out}"
		COMMAND ${CMAKE_COMMAND} "-DIN=${file}" "-DOUT=${out}" "-DSYMBOL=${symbol}" -P "${EMBED_SCRIPT}"
		DEPENDS "${file}" "${EMBED_SCRIPT}" VERBATIM)
	target_sources(${target} PRIVATE "${out}")
endfunction()
