/*
 * A replay is a new command, never a second reading of the old one: what stood at the old offset
 * stays malformed for ever.  It goes where its ids say, written as our own programs write it, so
 * what is appended is never malformed again.
 */
#include "guardian/dead.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/command.h"
#include "common/ids.h"
#include "common/outcome.h"
#include "common/xmalloc.h"
#include "guardian/letter.h"
#include "guardian/report.h"
#include "guardian/scan.h"

enum {
    OUT_BYTES = 16 << 20,
    INPUT_BYTES = 1 << 20,
    TURN_MS = 50,
};

struct dead {
    const struct settings *settings;
    struct kafka_settings kafka;
    struct scan *letters;
    struct buf out;
    int status;
};

static ATTR_PRINTF(3, 4) bool say(struct dead *d, int status, const char *fmt, ...)
{
    va_list args;

    d->status = status;
    (void)fputs("seckill-guardian: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return false;
}

static bool fail(struct dead *d, const struct err *err)
{
    return say(d, DEAD_UNKNOWN, "%s", err->text);
}

/* Prints what has been collected. */
static bool flush(struct dead *d)
{
    const bool ok = report_print(&d->out);

    buf_clear(&d->out);
    if (!ok) {
        d->status = DEAD_UNKNOWN;
    }
    return ok;
}

static bool open_letter(const struct kafka_record *record, struct letter *l)
{
    const struct letter_headers headers = {
        .reason = kafka_record_header(record, "reason"),
        .topic = kafka_record_header(record, "topic"),
        .partition = kafka_record_header(record, "partition"),
        .offset = kafka_record_header(record, "offset"),
    };

    *l = (struct letter){
        .partition = record->partition,
        .copy_offset = record->offset,
        .copied_ms = record->timestamp_ms,
        .key = record->key,
        .value = record->value,
    };
    return letter_read(l, &headers);
}

/* ---- list ---- */

struct listing {
    struct dead *dead;
    int64_t since_ms;
    int64_t *seen; /* offsets of the partition's letters, ascending; owned */
    size_t n_seen, room;
    size_t letters, foreign;
};

/* Whether offset comes for the first time.  Copies come in order, so nearly always at the end. */
static bool is_first(struct listing *list, int64_t offset)
{
    size_t at = list->n_seen;

    while (at > 0 && list->seen[at - 1] > offset) {
        at--;
    }
    if (at > 0 && list->seen[at - 1] == offset) {
        return false;
    }
    if (list->n_seen == list->room) {
        list->room = list->room == 0 ? 1024 : 2 * list->room;
        list->seen = xreallocarray(list->seen, list->room, sizeof(*list->seen));
    }
    memmove(&list->seen[at + 1], &list->seen[at], (list->n_seen - at) * sizeof(*list->seen));
    list->seen[at] = offset;
    list->n_seen++;
    return true;
}

static bool list_record(const struct kafka_record *record, void *arg)
{
    struct listing *list = arg;
    struct dead *d = list->dead;
    const char *reason = d->settings->reason;
    struct letter l;

    if (!open_letter(record, &l)) {
        list->foreign++;
        return true;
    }
    if (l.copied_ms < list->since_ms || (reason[0] != '\0' && strcmp(reason, l.reason) != 0) ||
        !is_first(list, l.offset)) {
        return true;
    }
    list->letters++;
    if (d->settings->json) {
        letter_put_json(&d->out, &l);
    } else {
        letter_put_line(&d->out, &l);
    }
    return flush(d);
}

static bool list_partition(struct listing *list, int partition)
{
    struct dead *d = list->dead;
    struct kafka_start from = {.partition = partition};
    struct err err = {0};
    int64_t end;

    list->n_seen = 0;
    if (!scan_range(d->letters, partition, &from.offset, &end, &err) ||
        !scan_read(d->letters, &from, end, list_record, list, &err)) {
        return fail(d, &err);
    }
    return d->status == DEAD_DONE;
}

static void list_letters(struct dead *d)
{
    const struct settings *s = d->settings;
    struct listing list = {.dead = d};

    if (s->since_ms > 0) {
        list.since_ms = clock_wall_ms() - s->since_ms;
    }
    for (int i = 0; i < (int)s->kafka.partitions; i++) {
        if ((s->partition < 0 || s->partition == i) && !list_partition(&list, i)) {
            break;
        }
    }
    if (d->status == DEAD_DONE && !s->quiet) {
        (void)fprintf(stderr, "%zu dead letters%s\n", list.letters,
                      list.foreign > 0 ? "; and records that are none, of somebody else" : "");
    }
    free(list.seen);
}

/* ---- one letter ---- */

struct search {
    int64_t offset;
    bool is_found;
    struct letter letter; /* its slices point to the copies below */
    char *bytes;          /* owned: topic, key and value */
};

static struct slice keep(char **at, struct slice s)
{
    struct slice kept = {NULL, 0};

    if (s.ptr != NULL) {
        kept = (struct slice){*at, s.len};
        memcpy(*at, s.ptr, s.len);
        *at += s.len;
    }
    return kept;
}

static bool match(const struct kafka_record *record, void *arg)
{
    struct search *search = arg;
    struct letter *l = &search->letter;
    char *at;

    if (!open_letter(record, l) || l->offset != search->offset) {
        return true;
    }
    search->is_found = true;
    search->bytes = at = xmalloc(l->topic.len + l->key.len + l->value.len + 1);
    l->topic = keep(&at, l->topic);
    l->key = keep(&at, l->key);
    l->value = keep(&at, l->value);
    return false;
}

/* Finds the letter that the command line names. */
static bool find_letter(struct dead *d, struct search *search)
{
    const struct settings *s = d->settings;
    struct kafka_start from = {0};
    struct err err = {0};
    int64_t end;

    if (!letter_parse_name(slice_str(s->words[1]), (int)s->kafka.partitions, &from.partition,
                           &search->offset)) {
        return say(d, DEAD_USAGE,
                   "a dead letter is named PARTITION:OFFSET, as `dead list` prints it, with a "
                   "partition below %" PRId64,
                   s->kafka.partitions);
    }
    if (!scan_range(d->letters, from.partition, &from.offset, &end, &err) ||
        !scan_read(d->letters, &from, end, match, search, &err)) {
        return fail(d, &err);
    }
    return search->is_found ||
           say(d, DEAD_REFUSED, "%s has no dead letter %s; `dead list --partition=%d` shows them",
               s->kafka.topic_dead, s->words[1], from.partition);
}

static void show_letter(struct dead *d)
{
    struct search search = {0};
    const struct letter *l = &search.letter;

    if (find_letter(d, &search)) {
        if (!d->settings->raw) {
            (d->settings->json ? letter_put_whole_json : letter_put_text)(&d->out, l);
        } else if (isatty(STDOUT_FILENO) == 1) {
            (void)say(d, DEAD_USAGE,
                      "--raw gives the bytes as they are, which no terminal should "
                      "get: send them to a file or a pipe");
        } else {
            buf_put_slice(&d->out, l->value);
        }
        (void)flush(d);
    }
    free(search.bytes);
}

/* ---- replay: the command ---- */

static bool read_all(FILE *file, struct buf *out)
{
    char chunk[4096];
    size_t n;

    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        buf_append(out, chunk, n);
    }
    return ferror(file) == 0;
}

/* The corrected value that the operator gives. */
static bool read_value(struct dead *d, struct buf *out)
{
    const char *path = d->settings->value;
    const bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    bool ok;

    if (file == NULL) {
        return say(d, DEAD_USAGE, "%s: %s", path, strerror(errno));
    }
    ok = read_all(file, out);
    if (!is_stdin) {
        (void)fclose(file); /* it was only read */
    }
    if (!ok) {
        return say(d, DEAD_USAGE, "%s cannot be read", path);
    }
    return buf_ok(out) || say(d, DEAD_REFUSED, "%s: too_large: a command has at most %d bytes",
                              path, COMMAND_VALUE_MAX);
}

/* Says why value is no command. */
static bool explain(struct dead *d, struct slice value, const struct command *cmd)
{
    const char *detail = command_detail_name(cmd->detail);
    const char *member = command_blame(value);
    json_error_t error = {.line = 0};
    json_t *tree;

    switch (cmd->detail) {
    case COMMAND_TOO_LARGE:
        return say(d, DEAD_REFUSED, "%s: %zu bytes, and a command has at most %d", detail,
                   value.len, COMMAND_VALUE_MAX);
    case COMMAND_NOT_JSON:
        tree = json_loadb(value.ptr, value.len, JSON_REJECT_DUPLICATES, &error);
        if (tree != NULL) {
            json_decref(tree);
            return say(d, DEAD_REFUSED, "%s: it is JSON, but no object", detail);
        }
        return say(d, DEAD_REFUSED, "%s: at line %d, column %d", detail, error.line, error.column);
    case COMMAND_WRONG_PARTITION:
        return say(d, DEAD_REFUSED,
                   "%s: its ids belong to no partition below %" PRId64 ", or to different ones",
                   detail, d->settings->kafka.partitions);
    case COMMAND_NULL_VALUE:
        return say(d, DEAD_REFUSED, "%s: there is nothing to append", detail);
    default:
        return say(d, DEAD_REFUSED, "%s%s%s: see docs/protocol.md section 3", detail,
                   member != NULL ? ": " : "", member != NULL ? member : "");
    }
}

/* Reads value as a command of the partition that its ids name; of the letter's if they name none. */
static bool read_command(struct dead *d, struct slice value, int *partition, struct command *cmd)
{
    const int n = (int)d->settings->kafka.partitions;

    command_parse(cmd, value, COMMAND_RULES, *partition, n);
    for (int i = 0; i < n && cmd->detail == COMMAND_WRONG_PARTITION; i++) {
        command_parse(cmd, value, COMMAND_RULES, i, n);
        *partition = i;
    }
    if (cmd->type == COMMAND_MALFORMED) {
        return explain(d, value, cmd);
    }
    switch (cmd->type) {
    case COMMAND_SALE:
    case COMMAND_RESTOCK:
    case COMMAND_ORDER:
    case COMMAND_PAY:
    case COMMAND_CANCEL:
    case COMMAND_ARCHIVE:
        break;
    default:
        return say(d, DEAD_REFUSED,
                   "a %s is not for replay: the programs append their own when one is needed",
                   command_type_name(cmd->type));
    }
    if (cmd->type == COMMAND_ORDER && cmd->not_after < clock_wall_ms()) {
        (void)fputs("seckill-guardian: note: its not_after has passed, so it can only be rejected "
                    "as timed_out\n",
                    stderr);
    }
    return true;
}

/* ---- replay: into the log ---- */

struct sending {
    bool is_over, is_stored;
    int64_t offset;
    struct err err;
};

static void on_report(const struct kafka_report *report, void *arg)
{
    struct sending *sending = arg;

    sending->is_over = true;
    sending->is_stored = report->delivery == KAFKA_DELIVERED;
    sending->offset = report->offset;
    if (!sending->is_stored) {
        (void)err_set(&sending->err, ERR_RETRY, "kafka: %s: %s",
                      report->delivery == KAFKA_FAILED ? "not stored" : "unknown", report->why);
    }
}

static void on_fatal(const char *why, void *arg)
{
    struct sending *sending = arg;

    sending->is_over = true;
    (void)err_set(&sending->err, ERR_RETRY, "kafka: unknown: %s", why);
}

static bool append(struct dead *d, const struct kafka_message *message, int64_t *offset)
{
    struct sending sending = {.offset = -1};
    struct event_base *base = event_base_new();
    const struct kafka_producer_settings settings = {
        .kafka = &d->kafka,
        .message_timeout_ms = d->settings->timeout_ms,
        .report = on_report,
        .fatal = on_fatal,
        .arg = &sending,
    };
    const struct timeval moment = {.tv_usec = TURN_MS * 1000L};
    struct kafka_producer *producer = NULL;

    if (base == NULL) {
        return say(d, DEAD_UNKNOWN, "no event loop");
    }
    producer = kafka_producer_create(base, &settings, &sending.err);
    sending.is_over = producer == NULL || !kafka_producer_send(producer, message, &sending.err);
    while (!sending.is_over) { /* message_timeout_ms ends it */
        (void)event_base_loopexit(base, &moment);
        (void)event_base_dispatch(base);
    }
    kafka_producer_destroy(producer);
    event_base_free(base);
    *offset = sending.offset;
    return sending.is_stored || fail(d, &sending.err);
}

struct wait {
    int64_t offset;
    struct outcome outcome;
};

static bool is_other(const struct kafka_record *record, void *arg)
{
    struct wait *wait = arg;

    return !outcome_parse(&wait->outcome, record->value, NULL) ||
           wait->outcome.offset != wait->offset;
}

/* Tells what became of the command: its own event is the last one. */
static void tell(struct dead *d, int partition, const struct outcome *outcome)
{
    const struct event *event =
        outcome->n_events > 0 ? &outcome->events[outcome->n_events - 1] : NULL;
    const char *result = event != NULL ? event_type_name(event->type) : "nothing";
    const char *reason =
        event != NULL && event->reason != REASON_NONE ? reason_name(event->reason) : NULL;

    if (event != NULL && (event->type == EVENT_REFUSED || event->type == EVENT_REJECTED)) {
        d->status = DEAD_REFUSED;
    }
    if (d->settings->json) {
        buf_printf(&d->out,
                   "{\"letter\":\"%s\",\"partition\":%d,\"offset\":%" PRId64
                   ",\"result\":\"%s\",\"reason\":%s%s%s}\n",
                   d->settings->words[1], partition, outcome->offset, result,
                   reason != NULL ? "\"" : "", reason != NULL ? reason : "null",
                   reason != NULL ? "\"" : "");
    } else {
        buf_printf(&d->out, "%s is now %d:%" PRId64 ": %s%s%s\n", d->settings->words[1], partition,
                   outcome->offset, result, reason != NULL ? ", " : "",
                   reason != NULL ? reason : "");
    }
    (void)flush(d);
}

static bool append_and_tell(struct dead *d, struct scan *outcomes, const struct kafka_message *m)
{
    struct kafka_start from = {.partition = m->partition};
    struct wait wait = {0};
    struct err err = {0};
    int64_t begin;
    bool ok;

    if (!scan_range(outcomes, m->partition, &begin, &from.offset, &err)) {
        return fail(d, &err);
    }
    if (!append(d, m, &wait.offset)) {
        return false;
    }
    if (wait.offset < 0) {
        return say(d, DEAD_UNKNOWN, "appended, but Kafka did not tell where");
    }
    ok = scan_read(outcomes, &from, INT64_MAX, is_other, &wait, &err);
    if (ok) {
        tell(d, m->partition, &wait.outcome);
    } else {
        (void)say(d, DEAD_UNKNOWN,
                  "appended as %d:%" PRId64 ", but its outcome did not come: does a matcher run?",
                  m->partition, wait.offset);
    }
    outcome_fini(&wait.outcome);
    return ok;
}

static void append_command(struct dead *d, int partition, const struct command *cmd)
{
    const struct settings *s = d->settings;
    const struct kafka_header origin = {"replay_of", slice_str(s->words[1])};
    char value[COMMAND_VALUE_MAX];
    const struct kafka_message message = {
        .topic = s->kafka.topic_orders,
        .partition = partition,
        .key = command_key(cmd),
        .value = {value, command_format(cmd, value, sizeof(value))},
        .headers = &origin,
        .n_headers = 1,
    };
    struct scan *outcomes;
    struct err err = {0};

    if (s->dry_run) {
        buf_printf(&d->out, "%s %d %.*s\n", s->kafka.topic_orders, partition,
                   (int)message.value.len, message.value.ptr);
        (void)flush(d);
        return;
    }
    outcomes = scan_create(&d->kafka, s->kafka.topic_outcomes, s->timeout_ms, &err);
    if (outcomes == NULL) {
        (void)fail(d, &err);
        return;
    }
    (void)append_and_tell(d, outcomes, &message);
    scan_destroy(outcomes);
}

static void replay_letter(struct dead *d)
{
    const struct settings *s = d->settings;
    const bool is_given = s->value[0] != '\0';
    struct search search = {0};
    struct command cmd;
    struct buf value;

    if (is_given == s->force) {
        (void)say(d, DEAD_USAGE,
                  "replay wants either --value=FILE (- for standard input) with the corrected "
                  "value, or --force for the value as it is");
        return;
    }
    buf_init(&value, INPUT_BYTES);
    if (find_letter(d, &search) && (!is_given || read_value(d, &value))) {
        struct slice text = search.letter.value;

        if (is_given) {
            text = value.ptr == NULL ? SLICE_LIT("") : buf_slice(&value);
        }
        if (read_command(d, text, &search.letter.partition, &cmd)) {
            append_command(d, search.letter.partition, &cmd);
        }
    }
    free(search.bytes);
    buf_fini(&value);
}

/* ---- all of it ---- */

static const struct verb {
    const char *name;
    size_t n_words; /* with its own */
    void (*run)(struct dead *d);
} verbs[] = {
    {"list", 1, list_letters},
    {"show", 2, show_letter},
    {"replay", 2, replay_letter},
};

static const struct verb *find_verb(const struct settings *s)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (s->n_words == verbs[i].n_words && strcmp(s->words[0], verbs[i].name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static bool check_words(struct dead *d, const struct verb *verb)
{
    const struct settings *s = d->settings;

    if (verb == NULL) {
        return say(d, DEAD_USAGE,
                   "dead list, dead show PARTITION:OFFSET or dead replay PARTITION:OFFSET; see "
                   "--help");
    }
    return s->reason[0] == '\0' || letter_reason(slice_str(s->reason)) != NULL ||
           say(d, DEAD_USAGE,
               "--reason=%s: there is no such reason; docs/protocol.md section 3 names them",
               s->reason);
}

int dead_run(const struct settings *settings)
{
    struct dead d = {.settings = settings, .kafka = settings_kafka(settings)};
    const struct verb *verb = find_verb(settings);
    struct err err = {0};

    buf_init(&d.out, OUT_BYTES);
    if (check_words(&d, verb)) {
        d.letters = scan_create(&d.kafka, settings->kafka.topic_dead, settings->timeout_ms, &err);
        if (d.letters != NULL) {
            verb->run(&d);
        } else {
            (void)fail(&d, &err);
        }
    }
    scan_destroy(d.letters);
    buf_fini(&d.out);
    (void)kafka_wait_ended(1000);
    return d.status;
}
