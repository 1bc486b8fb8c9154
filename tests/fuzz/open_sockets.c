/* SPDX-License-Identifier: MIT */
/* Preloaded, it takes the address policy away: whoever resolves a name connects to what comes. The
 * control of test_addresses.py. On the machines that this is for, an argument of any type is passed in
 * the same place. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>

#undef curl_easy_setopt

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    static CURLcode (*real)(CURL *, CURLoption, ...);
    va_list arguments;
    void *argument;

    va_start(arguments, option);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "curl_easy_setopt");
    return option == CURLOPT_OPENSOCKETFUNCTION ? CURLE_OK : real(easy, option, argument);
}
