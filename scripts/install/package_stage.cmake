# Run by CPack on what it is about to pack: manuals are compressed there, and not where they are made.

file(GLOB_RECURSE pages ${CPACK_TEMPORARY_DIRECTORY}/*.1 ${CPACK_TEMPORARY_DIRECTORY}/*.5
                        ${CPACK_TEMPORARY_DIRECTORY}/*.8)
if(pages)
    execute_process(COMMAND gzip -9n ${pages} COMMAND_ERROR_IS_FATAL ANY)
endif()
