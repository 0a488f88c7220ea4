/*
 * reply.h - a reply of Redis out of the bytes that it would send.
 */
#ifndef TESTS_UNIT_REPLY_H
#define TESTS_UNIT_REPLY_H

#include <hiredis/hiredis.h>
#include <string.h>

/* Fails the test that includes cmocka.h before it when they are no reply; freeReplyObject() frees it. */
static inline redisReply *reply_of(const char *bytes)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    assert_non_null(reader);
    assert_int_equal(redisReaderFeed(reader, bytes, strlen(bytes)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

#endif /* TESTS_UNIT_REPLY_H */
