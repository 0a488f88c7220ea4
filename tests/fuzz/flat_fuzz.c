/*
 * What flat.h reads, the JSON library reads as well, and the same.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/flat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact) {
        abort();
    }
}

static void compare(const struct flat *f, struct slice text)
{
    json_t *json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);

    require(json_is_object(json) && json_object_size(json) == f->n);
    for (size_t i = 0; i < f->n; i++) {
        const struct flat_member *m = &f->members[i];
        const json_t *value = json_object_getn(json, m->name.ptr, m->name.len);

        if (m->text.ptr == NULL) {
            require(json_is_integer(value) && json_integer_value(value) == m->number);
        } else {
            require(json_is_string(value));
            require(slice_eq(m->text,
                             (struct slice){json_string_value(value), json_string_length(value)}));
        }
    }
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flat f;
    char *copy =
        malloc(size); /* exactly as long as it is, so that the sanitizer sees an over-read */

    require(copy != NULL || size == 0);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    if (flat_read(&f, (struct slice){copy, size})) {
        compare(&f, (struct slice){copy, size});
    }
    free(copy);
    return 0;
}
