/* SPDX-License-Identifier: MIT */
/* doctor_report.h - what goes with an issue, without what is nobody's business (redact.h).
 *
 * | member of agnesfs-report/ | is                                                            |
 * |---------------------------|---------------------------------------------------------------|
 * | README.txt                | what was left out                                             |
 * | doctor.json               | the checks                                                    |
 * | status-N.json             | what each mount says of itself                                |
 * | log-N.txt                 | the last LOG_TAIL bytes of its log; log-0.txt without a mount |
 * | config.txt                | every key, its value and where that is from                   |
 * | mounts.txt                | the lines of mountinfo that are of agnesfs                    |
 * | system.txt                | version, kernel, distribution, libraries                      |
 *
 * What is not had within MEMBERS_MS is missing. */
#pragma once

#include "fs/cli/doctor.h"
#include "fs/cli/messages.h"

/* document: of the checks. path: a file that is not there yet; NULL: a name of our own in the working
 * folder. Says on stdout what was written. */
int doctor_report_write(const struct doctor *doctor, const char *document, char **mountpoints,
                        const char *path, struct complaint *ret_complaint);
