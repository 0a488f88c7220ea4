/*
 * In place of libevent's functions of the same names.  Apart from all else, because an event is also
 * something that outcomes have.
 */
#include "tests/sim/loop.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/xmalloc.h"

struct event {
    event_callback_fn run;
    void *arg;
};

struct event *event_new(struct event_base *base, evutil_socket_t fd, short what,
                        event_callback_fn run, void *arg)
{
    (void)fd;
    (void)what;
    base->timer = xcalloc(1, sizeof(*base->timer));
    *base->timer = (struct event){run, arg};
    return base->timer;
}

int event_add(struct event *ev, const struct timeval *timeout)
{
    (void)ev;
    (void)timeout;
    return 0;
}

void event_free(struct event *ev)
{
    free(ev);
}

void loop_turn(struct event_base *base)
{
    base->timer->run(-1, 0, base->timer->arg);
}
