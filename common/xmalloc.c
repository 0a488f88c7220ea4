#include "common/xmalloc.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nothing here may allocate: not even stdio. */
static ATTR_NORETURN void die(void)
{
    static const char line[] = "out of memory\n";
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&fd, 1, 0) == 0 || write(STDERR_FILENO, line, sizeof(line) - 1) < 0) {
        abort();
    }
    abort();
}

static void *checked(void *p)
{
    if (p == NULL) {
        die();
    }
    return p;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size == 0 ? 1 : size));
}

void *xcalloc(size_t n, size_t size)
{
    return checked(calloc(n == 0 ? 1 : n, size == 0 ? 1 : size));
}

void *xreallocarray(void *p, size_t n, size_t size)
{
    return checked(reallocarray(p, n == 0 ? 1 : n, size == 0 ? 1 : size));
}

char *xstrdup(const char *text)
{
    return xmemdup0(text, strlen(text));
}

char *xmemdup0(const void *bytes, size_t len)
{
    if (len == SIZE_MAX) {
        die();
    }
    char *copy = xmalloc(len + 1);

    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    copy[len] = '\0';
    return copy;
}
