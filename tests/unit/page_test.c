/*
 * The page's parts, and the options behind it.  That a whole page is well-formed is test_stampede.py's.
 */
#include "tools/stampede/page.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/stampede/plot.h"
#include "tools/stampede/settings.h"

static void test_text_is_escaped(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    page_text(out, "<script>\"a\" & 'b'</script>\x01\n\xc3\xa4");
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text,
                        "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;\xc3\xa4");
    free(text);
}

static void test_ticks_are_round(void **state)
{
    (void)state;
    assert_true(plot_tick(100, 4) == 50);
    assert_true(plot_tick(4, 4) == 1);
    assert_true(plot_tick(5, 4) == 2);
    assert_true(fabs(plot_tick(0.7, 4) - 0.2) < 1e-9);
    assert_true(plot_tick(8000, 4) == 2000);
}

static char *draw(const struct plot *p)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    plot_write(p, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_plots(void **state)
{
    const double values[] = {1, (double)NAN, 10, 100};
    const double zeros[] = {0, 0, 0, 0};
    struct plot p = {.title = "a<b", .unit = "ms", .remark = "", .step_s = 1};
    char *text = draw(&p); /* nothing to draw */

    (void)state;
    assert_null(strstr(text, "nan"));
    assert_non_null(strstr(text, "a&lt;b"));
    assert_null(strstr(text, "a<b"));
    free(text);
    p.points = 4;
    p.lines = 2;
    p.line[0] = (struct plot_line){"x", values};
    p.line[1] = (struct plot_line){"y", zeros};
    for (int kind = 0; kind < 3; kind++) {
        p.is_log = kind == 1;
        p.is_area = kind == 2;
        text = draw(&p);
        assert_null(strstr(text, "nan"));
        assert_null(strstr(text, "inf"));
        assert_non_null(strstr(text, "data-values=\"1,,10,100;0,0,0,0\""));
        free(text);
    }
}

/* What the words on a command line plan; false with err when they are refused. */
static bool plan(struct storm_plan *out, struct err *err, int argc, const char *const *argv)
{
    struct settings s;
    struct conf *conf = conf_create(&settings_options, &s);
    const bool done = conf_load(conf, argc, (char *const *)(uintptr_t)argv, err) == CONF_RUN &&
                      settings_plan(conf, &s, out, err);

    conf_destroy(conf);
    return done;
}

static void test_options(void **state)
{
    static const char *const bad[][5] = {
        {"stampede", "--rate=5", NULL},
        {"stampede", "--arrivals=steady", "--shoppers=5", NULL},
        {"stampede", "--arrivals=sometimes", NULL},
        {"stampede", "--arrivals=steady", "--rate=0", NULL},
        {"stampede", "--arrivals=steady", "--rate=1000000", "--duration=1h", NULL},
        {"stampede", "--pay=0", "--cancel=0", "--abandon=0", NULL},
        {"stampede", "--item=a,,b", NULL},
        {"stampede", "--item=a b", NULL},
        {"stampede", "--wait=101", NULL},
    };
    static const char *const good[] = {"stampede",       "--arrivals=spike", "--rate=300/m",
                                       "--duration=20s", "--item=a,b",       "--addresses=7"};
    struct storm_plan p;
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int argc = 0;

        while (bad[i][argc] != NULL) {
            argc++;
        }
        assert_false(plan(&p, &err, argc, bad[i]));
    }
    assert_true(plan(&p, &err, 6, good));
    assert_int_equal(p.arrivals.kind, ARRIVALS_SPIKE);
    assert_true(p.arrivals.rate_per_s == 5);
    assert_int_equal(p.arrivals.duration_us, 20000000);
    assert_int_equal(p.addresses, 7);
    assert_true(plan(&p, &err, 1, good)); /* the crowd of the demo */
    assert_int_equal(p.arrivals.kind, ARRIVALS_CROWD);
    assert_int_equal(p.arrivals.shoppers, 20000);
    assert_int_equal(p.arrivals.duration_us, 10000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_escaped),
        cmocka_unit_test(test_ticks_are_round),
        cmocka_unit_test(test_plots),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
