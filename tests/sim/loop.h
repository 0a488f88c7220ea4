/*
 * loop.h - the event loop that the producer's code sees: one timer, which the simulator lets run.
 */
#ifndef TESTS_SIM_LOOP_H
#define TESTS_SIM_LOOP_H

struct event;

struct event_base {
    void *owner;
    struct event *timer; /* the one made last */
};

void loop_turn(struct event_base *base);

#endif /* TESTS_SIM_LOOP_H */
