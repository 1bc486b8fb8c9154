# Run by CPack on what it is about to pack: manuals as distributions want them, and completions where
# Debian's zsh looks for them.

file(GLOB_RECURSE pages ${CPACK_TEMPORARY_DIRECTORY}/*.1 ${CPACK_TEMPORARY_DIRECTORY}/*.5
                        ${CPACK_TEMPORARY_DIRECTORY}/*.8)
if(pages)
    execute_process(COMMAND gzip -9n ${pages} COMMAND_ERROR_IS_FATAL ANY)
endif()
file(GLOB zsh ${CPACK_TEMPORARY_DIRECTORY}/usr/share/zsh/site-functions)
if(zsh AND CPACK_GENERATOR STREQUAL "DEB")
    file(RENAME ${zsh} ${CPACK_TEMPORARY_DIRECTORY}/usr/share/zsh/vendor-completions)
endif()
