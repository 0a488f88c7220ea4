#include "common/version.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <mysql.h>
#include <openssl/crypto.h>

#include "common/log.h"

#ifndef SECKILL_VERSION
#define SECKILL_VERSION "unknown"
#endif

const char *version_string(void)
{
    return SECKILL_VERSION;
}

void version_libraries(struct buf *out)
{
    /* hiredis cannot be asked at run time; its soname pins it to the headers' minor version. */
    buf_printf(
        out, "librdkafka=%s libevent=%s hiredis=%d.%d.%d mysqlclient=%s jansson=%s openssl=%s",
        rd_kafka_version_str(), event_get_version(), HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH,
        mysql_get_client_info(), jansson_version_str(), OpenSSL_version(OPENSSL_VERSION_STRING));
}

void version_log(void)
{
    char storage[256];
    struct buf libraries;

    buf_init_fixed(&libraries, storage, sizeof(storage));
    version_libraries(&libraries);
    log_info("program.started", LOG_STR("version", version_string()),
             LOG_SLICE("libraries", buf_slice(&libraries)));
}
