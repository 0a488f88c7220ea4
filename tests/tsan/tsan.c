/*
 * What ThreadSanitizer has to be told; linked into every program of `make SAN=thread`.
 *
 * Threads: librdkafka uses those of C11, which TSan does not know: a thread that it has not seen
 * begin crashes it, and what a lock orders looks like a race.  So they are made of POSIX threads
 * here, as glibc does it, in place of glibc's own.
 *
 * Suppressions: only for libraries that are not instrumented.  Each says why.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

/*
 * NOLINTBEGIN(bugprone-reserved-identifier): TSan calls two of them so;
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): as does glibc its parameters.
 */
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);

const char *__tsan_default_options(void)
{
    return "history_size=4";
}

const char *__tsan_default_suppressions(void)
{
    return
        /* What it frees or copies it guards by atomic operations that TSan does not see.  Its locks
         * are below, so what we give it and get from it is looked at. */
        "called_from_lib:librdkafka.so\n";
}

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "one can be used as the other");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "one can be used as the other");
_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "one can be used as the other");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "one can be used as the other");

struct start {
    thrd_start_t run;
    void *arg;
};

static int told(int error)
{
    switch (error) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    case ENOMEM:
        return thrd_nomem;
    case EBUSY:
        return thrd_busy;
    default:
        return thrd_error;
    }
}

static void *begin(void *arg)
{
    const struct start start = *(struct start *)arg;

    free(arg);
    return (void *)(intptr_t)start.run(start.arg);
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg)
{
    struct start *start = malloc(sizeof(*start));
    int error;

    if (start == NULL) {
        return thrd_nomem;
    }
    *start = (struct start){run, arg};
    error = pthread_create(thread, NULL, begin, start);
    if (error != 0) {
        free(start);
    }
    return told(error);
}

int thrd_join(thrd_t thread, int *result)
{
    void *value = NULL;
    const int error = pthread_join(thread, &value);

    if (result != NULL) {
        *result = (int)(intptr_t)value;
    }
    return told(error);
}

void call_once(once_flag *flag, void (*run)(void))
{
    (void)pthread_once((pthread_once_t *)flag, run); /* it has no errors */
}

/*
 * Locks begin by assignment, and end with their memory: a call would tell TSan of a write, which
 * is seen as a race when what hands the object on is invisible to it.
 */
__attribute__((no_sanitize("thread"))) int mtx_init(mtx_t *mutex, int type)
{
    static const pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

    *(pthread_mutex_t *)mutex = (type & mtx_recursive) != 0 ? recursive : plain;
    return thrd_success;
}

int mtx_lock(mtx_t *mutex)
{
    return told(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return told(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex)
{
    (void)mutex;
}

__attribute__((no_sanitize("thread"))) int cnd_init(cnd_t *cond)
{
    *(pthread_cond_t *)cond = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    return thrd_success;
}

int cnd_signal(cnd_t *cond)
{
    return told(pthread_cond_signal((pthread_cond_t *)cond));
}

int cnd_broadcast(cnd_t *cond)
{
    return told(pthread_cond_broadcast((pthread_cond_t *)cond));
}

int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return told(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until)
{
    return told(pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, until));
}

void cnd_destroy(cnd_t *cond)
{
    (void)cond;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
/* NOLINTEND(bugprone-reserved-identifier) */
