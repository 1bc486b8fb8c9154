/* SPDX-License-Identifier: MIT */
/* For agnesfs_unlocked, which must fail in test_storm.py: its inode table is compiled so that it calls
 * these, and so has no lock. */
#include <pthread.h>

int unlocked_lock(pthread_mutex_t *mutex);
int unlocked_unlock(pthread_mutex_t *mutex);

int unlocked_lock(pthread_mutex_t *mutex)
{
    return 0;
}

int unlocked_unlock(pthread_mutex_t *mutex)
{
    return 0;
}
