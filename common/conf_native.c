#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf_impl.h"
#include "common/xmalloc.h"

/* Settings that carry a promise of ours, with what to do instead. */
static const struct {
    const char *name;
    const char *why;
} denied[] = {
    {"bootstrap.servers", "use kafka-brokers"},
    {"metadata.broker.list", "use kafka-brokers"},
    {"acks", "\"accepted is durable\" rests on acks=all"},
    {"request.required.acks", "\"accepted is durable\" rests on acks=all"},
    {"enable.idempotence", "the producers are idempotent always"},
    {"transactional.id", "positions are kept with the data, not in Kafka"},
    {"partitioner", "the partition comes from the item id"},
    {"message.timeout.ms", "each program sets its own"},
    {"delivery.timeout.ms", "each program sets its own"},
    {"message.send.max.retries", "the idempotent producer needs its retries"},
    {"retries", "the idempotent producer needs its retries"},
    {"delivery.report.only.error", "every report is needed"},
    {"group.id", "each program names its own group"},
    {"enable.auto.commit", "positions are kept in Redis and MySQL"},
    {"auto.commit.enable", "positions are kept in Redis and MySQL"},
    {"enable.auto.offset.store", "positions are kept in Redis and MySQL"},
    {"auto.offset.reset", "a position that is gone halts a partition"},
    {"partition.assignment.strategy", "the matcher needs the range assignor"},
    {"isolation.level", "the log has no transactions"},
    {"enable.partition.eof", "the programs decide it"},
    {"allow.auto.create.topics", "topics are made by seckillctl topics create"},
};

bool conf_is_native(struct slice key)
{
    return slice_starts(key, SLICE_LIT("kafka."));
}

static enum conf_kafka_role take_role(struct slice *name)
{
    static const struct slice roles[] = {
        [CONF_KAFKA_PRODUCER] = {"producer.", sizeof("producer.") - 1},
        [CONF_KAFKA_CONSUMER] = {"consumer.", sizeof("consumer.") - 1},
    };

    for (enum conf_kafka_role r = CONF_KAFKA_PRODUCER; r <= CONF_KAFKA_CONSUMER; r++) {
        if (slice_starts(*name, roles[r])) {
            name->ptr += roles[r].len;
            name->len -= roles[r].len;
            return r;
        }
    }
    return CONF_KAFKA_ANY;
}

/* Asks librdkafka itself, so that --check-config finds a misspelt name or an impossible value. */
static bool is_accepted(const char *name, const char *value, struct err *err)
{
    rd_kafka_conf_t *scratch = rd_kafka_conf_new();
    char why[160] = "";
    const rd_kafka_conf_res_t rc = rd_kafka_conf_set(scratch, name, value, why, sizeof(why));

    rd_kafka_conf_destroy(scratch);
    return rc == RD_KAFKA_CONF_OK || err_set(err, ERR_FATAL, "librdkafka: %s", why);
}

static bool is_allowed(const struct conf *c, const char *name, struct err *err)
{
    for (size_t i = 0; i < sizeof(denied) / sizeof(*denied); i++) {
        if (strcmp(name, denied[i].name) == 0) {
            return err_set(err, ERR_FATAL, "cannot be set: %s", denied[i].why);
        }
    }
    for (const char *const *own = c->spec->kafka_denied; own != NULL && *own != NULL; own++) {
        if (strcmp(name, *own) == 0) {
            return err_set(err, ERR_FATAL, "cannot be set: %s needs its own", c->spec->binary);
        }
    }
    return true;
}

static struct conf_native *find(struct conf *c, enum conf_kafka_role role, struct slice name)
{
    for (size_t i = 0; i < c->native_count; i++) {
        const struct conf_kafka *k = &c->natives[i].setting;

        if (k->role == role && slice_eq(slice_str(k->name), name)) {
            return &c->natives[i];
        }
    }
    return NULL;
}

bool conf_native_add(struct conf *c, struct slice key, struct slice value,
                     const struct conf_origin *origin, bool in_section, struct err *err)
{
    struct slice name = {key.ptr + strlen("kafka."), key.len - strlen("kafka.")};
    const enum conf_kafka_role role = take_role(&name);
    struct conf_native *native = find(c, role, name);
    char *name_text = xmemdup0(name.ptr, name.len);
    char *value_text = xmemdup0(value.ptr, value.len);

    if (!is_allowed(c, name_text, err) || !is_accepted(name_text, value_text, err)) {
        goto refused;
    }
    if (native != NULL && origin->source == CONF_FROM_FILE &&
        native->origin.source == CONF_FROM_FILE && native->in_section == in_section) {
        (void)err_set(err, ERR_FATAL, "is already set in line %d", native->origin.line);
        goto refused;
    }
    if (native == NULL) {
        c->natives = xreallocarray(c->natives, c->native_count + 1, sizeof(*c->natives));
        native = &c->natives[c->native_count++];
    } else if (origin->source < native->origin.source) {
        free(name_text);
        free(value_text);
        return true;
    } else {
        free((void *)(uintptr_t)native->setting.name);
        free((void *)(uintptr_t)native->setting.value);
    }
    *native = (struct conf_native){
        .setting = {.role = role, .name = name_text, .value = value_text},
        .origin = *origin,
        .in_section = in_section,
    };
    return true;

refused:
    free(name_text);
    free(value_text);
    return false;
}

bool conf_native_is_secret(const char *name)
{
    static const char *const marks[] = {"password", "secret", ".pem", "oauthbearer.config"};

    for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
        if (strstr(name, marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

void conf_native_publish(struct conf *c)
{
    size_t n = 0;

    c->kafka = xcalloc(c->native_count, sizeof(*c->kafka));
    for (int general = 1; general >= 0; general--) {
        for (size_t i = 0; i < c->native_count; i++) {
            if ((c->natives[i].setting.role == CONF_KAFKA_ANY) == (general == 1)) {
                c->kafka[n++] = c->natives[i].setting;
            }
        }
    }
}
