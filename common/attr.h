/*
 * attr.h - compiler annotations used throughout.
 */
#ifndef COMMON_ATTR_H
#define COMMON_ATTR_H

#define ATTR_MUSTCHECK          __attribute__((warn_unused_result))
#define ATTR_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define ATTR_NORETURN           __attribute__((noreturn))
#define ATTR_UNUSED             __attribute__((unused))

#endif /* COMMON_ATTR_H */
