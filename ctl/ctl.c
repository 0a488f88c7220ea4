#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdio.h>

int ctl_say(int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)fputs("seckillctl: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return code;
}

int ctl_fail(const struct err *err)
{
    return ctl_say(err->kind == ERR_REJECT ? CTL_REFUSED : CTL_UNKNOWN, "%s", err->text);
}
