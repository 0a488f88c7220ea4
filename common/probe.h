/*
 * probe.h - where a tracer may look on from outside: USDT probes of the provider `seckill`.
 *
 * A probe is one nop until a tracer attaches, and nothing where systemtap-sdt-dev was not there at
 * the build.  Its arguments are integers.  It tells when a thing went into a channel or came out, with what
 * names that thing; how long it took is for the tracer to subtract: tools/trace/.
 */
#ifndef COMMON_PROBE_H
#define COMMON_PROBE_H

#if __has_include(<sys/sdt.h>)
#define SDT_USE_VARIADIC
#include <sys/sdt.h>
#define PROBE(name, ...) STAP_PROBEV(seckill, name, __VA_ARGS__)
#else
#define PROBE(name, ...) ((void)0)
#endif

#endif /* COMMON_PROBE_H */
