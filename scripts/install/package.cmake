# What scripts/package has CPack make. Included by CMakeLists.txt, and of no effect otherwise.

set(CPACK_GENERATOR DEB RPM TGZ)
set(CPACK_SET_DESTDIR ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package_stage.cmake)
set(CPACK_PACKAGE_NAME agnesfs)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR "agnesfs authors")
set(CPACK_PACKAGE_CONTACT "agnesfs authors <agnesfs@users.noreply.github.com>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Agnes stack as a read-only folder")
set(CPACK_PACKAGE_DESCRIPTION
"An Agnes server grants data packages (parquet tables) and corporate memory
(markdown). agnesfs shows what you are granted as a read-only folder: listing
asks nobody, reading fetches what is read, and every byte is verified and kept
in a cache that is addressed by content.")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_CURRENT_SOURCE_DIR}/LICENSE)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS fuse3) # root can do without, others not
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
file(WRITE ${CMAKE_BINARY_DIR}/conffiles "${CMAKE_INSTALL_FULL_SYSCONFDIR}/agnesfs.conf\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/conffiles)

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_LICENSE "MIT AND LGPL-2.1-only")
set(CPACK_RPM_PACKAGE_SUGGESTS fuse3)
set(CPACK_RPM_USER_FILELIST "%config(noreplace) ${CMAKE_INSTALL_FULL_SYSCONFDIR}/agnesfs.conf")
set(CPACK_RPM_SPEC_MORE_DEFINE
"%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
%define _buildhost localhost
%define _build_id_links none")
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
    /etc /usr/sbin /usr/lib/systemd /usr/lib/systemd/system /usr/lib/systemd/user
    /usr/share/mime /usr/share/mime/packages /usr/share/lintian /usr/share/lintian/overrides
    /usr/share/man /usr/share/man/man1 /usr/share/man/man5 /usr/share/man/man8
    /usr/share/bash-completion /usr/share/bash-completion/completions
    /usr/share/fish /usr/share/fish/vendor_completions.d
    /usr/share/zsh /usr/${AGNESFS_ZSH_DIR})

include(CPack)
