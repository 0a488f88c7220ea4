# Build, test and check everything.  `make help` lists the targets.
#
#   make                      the three daemons and seckillctl in build/bin/
#   make check                unit tests; no services needed
#   make test                 and real daemons on a private Kafka, Redis and MariaDB
#   make up, make down        such a stack to play with, in build/run/
#   make SAN=address test     the same in build-address/, under ASan + UBSan; SAN=thread: under TSan
#
# Debian packages that are missing are installed by what needs them; DEPS=0 leaves that to you.
# Anything set with ?= may be set on the command line or in config.mk.
-include config.mk

PKG_CONFIG ?= pkg-config
PREFIX     ?= /usr/local
CFLAGS     ?= -O2 -g
WERROR     ?= 1
SAN        ?=

# program = directory of its main.c
PROGRAMS := seckill-producer=producer seckill-matcher=matcher seckill-guardian=guardian seckillctl=ctl \
            stampede=tools/stampede
DIRS     := common producer matcher guardian ctl tools/stampede
PKGS     := libevent rdkafka hiredis mysqlclient jansson libcrypto libxxhash
# Statement expressions, macros without arguments: librdkafka's and sdt.h's are made of them, and only clang
# says so.
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wformat=2 -Wundef -Wconversion -Wno-sign-conversion \
            -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
            -Wwrite-strings -Wcast-qual -Wvla -Wnull-dereference -Wdouble-promotion \
            -Wno-gnu-statement-expression -Wno-gnu-zero-variadic-macro-arguments \
            $(if $(filter 1,$(WERROR)),-Werror)

# Sanitized objects live in their own directory, so switching never needs a clean.
BUILD       := build$(addprefix -,$(SAN))
SAN_address := -fsanitize=address,undefined -fno-sanitize-recover=all
SAN_thread  := -fsanitize=thread
SANFLAGS    := $(if $(SAN),$(SAN_$(SAN)) -fno-omit-frame-pointer)

VERSION      := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
# Asked once, when a recipe needs it and not while this file is read: the libraries may be installed
# by the same call.
pkg = $(if $(filter undefined,$(origin pkg_$1)),$(eval pkg_$1 := $$(shell $(PKG_CONFIG) --$1 $(PKGS))))$(pkg_$1)
ALL_CPPFLAGS  = -I. -I$(BUILD)/gen -D_GNU_SOURCE $(call pkg,cflags) $(CPPFLAGS)
ALL_CFLAGS   := -std=gnu11 -pthread $(WARNINGS) -fstack-protector-strong $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS  := -pthread $(SANFLAGS) -Wl,-z,relro,-z,now $(LDFLAGS)
ALL_LDLIBS    = $(call pkg,libs) -lm $(LDLIBS)

# Every *.c of a directory except main.c goes into its archive; that is what lets
# a unit test link a daemon's modules without the daemon's main().
objs   = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out %/main.c,$(wildcard $1/*.c)))
BINS  := $(foreach p,$(PROGRAMS),$(if $(wildcard $(lastword $(subst =, ,$p))/main.c),$(BUILD)/bin/$(firstword $(subst =, ,$p))))
LIBS  := $(foreach d,$(filter-out common,$(DIRS)) common,$(if $(wildcard $d/*.c),$(BUILD)/lib/$d.a))
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*_test.c))
FUZZ  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
C_FILES := $(wildcard $(addsuffix /*.[ch],$(DIRS) tests/unit tests/fuzz tests/bench tests/differential tests/tsan tests/sim tests/lib))

.PHONY: all
all: $(BINS) | deps-build ## build the daemons, seckillctl and the load generator

.SECONDEXPANSION:
$(LIBS): $(BUILD)/lib/%.a: $$(call objs,$$*)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcs $@ $^

dir_of = $(lastword $(subst =, ,$(filter $1=%,$(PROGRAMS))))
$(BINS): $(BUILD)/bin/%: $(BUILD)/obj/$$(call dir_of,$$*)/main.o $$(filter $(BUILD)/lib/$$(call dir_of,$$*).a,$$(LIBS)) $(BUILD)/lib/common.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

# What the tests of one first word share: part_test and every part_*_test are linked with part_world.o.
shared = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out %_test.c,$(wildcard tests/unit/$(firstword $(subst _, ,$1))_*.c)))
$(TESTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $$(call shared,$$*) $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LDLIBS) $(shell $(PKG_CONFIG) --libs cmocka)

# Micro benches; each says in its head how to run it.
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*_bench.c))
$(BENCHES): $(BUILD)/tests/%: $(BUILD)/obj/tests/bench/%.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

.PHONY: bench
bench: all $(BENCHES) ## each stage beside its ceiling in the same run (ONLY="script-reserve" RUNS=5 SIZE=0.1)
	@tools/deps.sh servers tests bench
	@PYTHONPATH=tests BUILD="$(abspath $(BUILD))" /usr/bin/python3 -m bench --only="$(ONLY)" \
	    --runs=$(or $(RUNS),0) --size=$(or $(SIZE),1)

# Not of `make check`: it needs a Redis.
DIFFERENTIAL := $(BUILD)/tests/differential
$(DIFFERENTIAL): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/differential/*.c)) $(BUILD)/lib/common.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

# The state machines themselves, with marks where a rule can be left out (common/mutant.h).
SIM         := $(BUILD)/tests/sim
SIM_SOURCES := $(wildcard tests/sim/*.c common/fold*.c matcher/part*.c guardian/ledger*.c producer/calls*.c) \
               $(patsubst %,matcher/%.c,queue replay script) $(patsubst %,guardian/%.c,follow commit mend) common/ids.c \
               $(patsubst %,producer/%.c,answers bucket counters door gates inflight input limiter logclock peers refusal refusal_reply waiters)
$(BUILD)/sim/%.o: %.c Makefile | $(SCRIPTS) deps-build
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -DSECKILL_MUTANTS $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
$(SIM): $(SIM_SOURCES:%.c=$(BUILD)/sim/%.o) $(BUILD)/lib/common.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LDLIBS)

# The script is embedded, so that a binary and the script it runs cannot drift apart.
SCRIPTS := $(patsubst lua/%.lua,$(BUILD)/gen/%_lua.h,$(wildcard lua/*.lua))
$(BUILD)/gen/%_lua.h: lua/%.lua tools/embed.sh
	@mkdir -p $(@D)
	tools/embed.sh $*_lua $< >$@

# The load generator's report begins and ends with this.
PAGE := $(patsubst tools/stampede/%.html,$(BUILD)/gen/%_html.h,$(wildcard tools/stampede/*.html))
$(PAGE): $(BUILD)/gen/%_html.h: tools/stampede/%.html tools/embed.sh
	@mkdir -p $(@D)
	tools/embed.sh $*_html $< >$@

# So is the schema, with the program that applies it.
SCHEMA := $(BUILD)/gen/schema.h
$(SCHEMA): $(sort $(wildcard schema/*.sql)) tools/embed-schema.sh
	@mkdir -p $(@D)
	tools/embed-schema.sh $(filter %.sql,$^) >$@

# What is fuzzed must be pure: it is compiled from source, with the fuzzer's instrumentation.
FUZZED := $(wildcard common/*.c matcher/part*.c) $(patsubst %,guardian/%.c,letter peek_reply tail) \
          $(patsubst %,matcher/%.c,queue replay script) \
          $(patsubst %,producer/%.c,http_parse input limiter lookup_reply observation proxies)
FUZZFLAGS := -std=gnu11 -g -O1 -fsanitize=address,undefined
$(BUILD)/fuzz/obj/%.o: %.c Makefile | $(SCRIPTS) deps-build deps-fuzz
	@mkdir -p $(@D)
	clang $(ALL_CPPFLAGS) $(FUZZFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(FUZZ): $(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/tests/fuzz/%.o $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(FUZZED))
	clang $(FUZZFLAGS) -fsanitize=fuzzer -o $@ $^ $(ALL_LDLIBS)

$(BUILD)/obj/%.o: %.c Makefile | $(SCRIPTS) $(SCHEMA) $(PAGE) deps-build
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# TSan's own word in every program; tests/tsan/tsan.c says what for.
ifeq ($(SAN),thread)
$(BINS) $(TESTS) $(BENCHES) $(DIFFERENTIAL): $(BUILD)/obj/tests/tsan/tsan.o
endif

$(BUILD)/obj/common/version.o: CPPFLAGS += -DSECKILL_VERSION='"$(VERSION)"'

$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/unit/*.c)): | deps-unit
$(BUILD)/obj/tests/bench/ring_bench.o $(BUILD)/tidy/tests/bench/ring_bench.ok: | deps-tests

-include $(shell find $(BUILD)/obj $(BUILD)/sim $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
.DELETE_ON_ERROR:
.SECONDARY:

.PHONY: check fuzz
check: $(TESTS) ## unit tests only (T=text runs those whose name has it)
	@fail=0; for t in $(if $(T),$(foreach t,$^,$(if $(findstring $(T),$t),$t)),$^); do echo "# $$t"; $$t || fail=1; done; exit $$fail

.PHONY: differential
differential: $(DIFFERENTIAL) ## script against fold, and every branch of the script (BATCHES=10000 SEED=1)
	@tools/deps.sh servers tests
	tests/differential/run.sh $(DIFFERENTIAL) --batches $(or $(BATCHES),10000) --seed $(or $(SEED),1)
	tests/differential/run.sh tests/differential/branches.py $(DIFFERENTIAL) --seed $(or $(SEED),1)

.PHONY: sim sim-mutants
sim: $(SIM) ## the simulator (SCHEDULES=100000 SEED=1 SIM_JOBS=2)
	@$(SIM) --schedules $(or $(SCHEDULES),100000) --seed $(or $(SEED),1) --jobs $(or $(SIM_JOBS),2)

sim-mutants: $(SIM) ## what the simulator finds when one rule after the other is left out
	@$(SIM) --mutants --schedules $(or $(SCHEDULES),100000) --seed $(or $(SEED),1) --jobs $(or $(SIM_JOBS),2)

# A wrong clock for one process; never sanitized, it is loaded before everything else.
SKEW := $(BUILD)/tests/skew.so
$(SKEW): tests/lib/skew.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 $(WARNINGS) -O2 -shared -fPIC -o $@ $< -ldl

# For the builds that a bigger target starts, unless -j was given to that.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: test
test: ## unit tests, then the real daemons on real servers (PYTEST="-k text" picks some, LANES=2, SEED=)
	@tools/deps.sh build unit servers tests
	@$(MAKE) --no-print-directory $(JOBS) all $(TESTS) $(BENCHES) $(DIFFERENTIAL) $(SIM) $(SKEW)
	@$(MAKE) --no-print-directory check
	@$(SIM) --schedules 2000 --jobs 2 --coverage --seed $(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom))
	SAN=$(SAN) BUILD="$(abspath $(BUILD))" /usr/bin/python3 -m pytest tests/integration \
	    -n $(or $(LANES),2) --dist loadfile $(PYTEST)

# The fault matrix (docs/faults.md), each row on a stack of its own under build/chaos/.
.PHONY: chaos soak
CHAOS = PYTHONPATH=tests BUILD="$(abspath $(BUILD))" /usr/bin/python3 -m chaos --seed=$(or $(SEED),1) \
        --orders=$(or $(ORDERS),100000) --minutes=$(or $(MINUTES),0) --lanes=$(or $(LANES),1) --row="$(ROW)"
chaos: ## real servers, a storm, every row of docs/faults.md that has a run (ROW=R4 SEED=7 MINUTES=5 ORDERS=100000 LANES=2)
	@tools/deps.sh build servers tests
	@$(MAKE) --no-print-directory $(JOBS) all $(SKEW)
	@$(CHAOS)

soak: ## the same faults at random, one storm after the other (HOURS=8 SEED=1)
	@tools/deps.sh build servers tests
	@$(MAKE) --no-print-directory $(JOBS) all $(SKEW)
	@$(CHAOS) --hours=$(or $(HOURS),8)

# Whatever has a record, against another server than the MariaDB that we start.
.PHONY: test-mysql
test-mysql: ## the record's tests on your MySQL (MYSQL_HOST= MYSQL_PORT= MYSQL_USER= MYSQL_PASSWORD=)
	@test -n "$$MYSQL_HOST" && test -n "$$MYSQL_PASSWORD" || { echo "Which MySQL?  make test-mysql" \
	    "MYSQL_HOST=... MYSQL_PORT=3306 MYSQL_USER=seckill MYSQL_PASSWORD=..., an account with all rights on" \
	    "databases named seckill_...; it makes and drops its own." >&2; exit 2; }
	@OWN_MYSQL=1 tools/deps.sh build servers tests
	@$(MAKE) --no-print-directory $(JOBS) all $(SKEW)
	OWN_MYSQL=1 BUILD="$(abspath $(BUILD))" /usr/bin/python3 -m pytest -m "not kills_mysql" \
	    $$(grep -lE 'lib.(record|recovery) import' tests/integration/*.py) $(PYTEST)

# Where that stack lives: RUN=DIR makes another one beside it.
RUN ?= $(BUILD)/run

# Recursive, because the flags of a build are right only once its packages are there.
.PHONY: up down demo
up: ## a private stack and one of each daemon, ready, in build/run/ (see build/run/env)
	@tools/deps.sh build servers
	@$(MAKE) --no-print-directory $(JOBS) all
	@tools/stack.sh start "$(RUN)"
	@SECKILL_BIN="$(abspath $(BUILD)/bin)" tools/daemons.sh start "$(RUN)"

demo: ## a real sale on a fresh stack in build/run/, with the proof (KEEP=0 stops it afterwards)
	@tools/deps.sh build servers
	@$(MAKE) --no-print-directory $(JOBS) all
	@SECKILL_BIN="$(abspath $(BUILD)/bin)" tools/demo.sh $(BUILD)/run

down: ## stop all that runs on that stack and throw its data away; logs stay
	@tools/stack.sh remove "$(RUN)"

fuzz: $(FUZZ) ## every fuzz target for SECONDS (30), two at a time
	@printf '%s\n' $^ | xargs -P 2 -n 1 tests/fuzz/run.sh $(or $(SECONDS),30)

.PHONY: format format-check tidy lint
format: | deps-lint ## rewrite the sources in the house style
	clang-format -i $(C_FILES)

format-check: | deps-lint ## fail if `make format` would change anything
	clang-format --dry-run --Werror $(C_FILES)

# One process per file: given several, clang-tidy 14 misreports va_start().  What was clean has a stamp
# and is looked at again when it, a header of it, or the rules have changed.
TIDY := $(patsubst %.c,$(BUILD)/tidy/%.ok,$(filter %.c,$(C_FILES)))
$(TIDY): $(BUILD)/tidy/%.ok: %.c .clang-tidy | $(SCRIPTS) $(SCHEMA) $(PAGE) deps-build deps-unit deps-lint
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- -std=gnu11 $(ALL_CPPFLAGS) $(if $(filter tests/sim/%,$<),-DSECKILL_MUTANTS) 2>/dev/null
	@$(CC) -std=gnu11 $(ALL_CPPFLAGS) -MM -MP -MT $@ -MF $(@:.ok=.d) $<
	@touch $@
-include $(wildcard $(TIDY:.ok=.d))

.PHONY: tidied
tidied: $(TIDY)
	@:

tidy: | deps-build deps-unit deps-lint ## clang-tidy; every finding is an error
	@$(MAKE) --no-print-directory --keep-going --output-sync $(JOBS) tidied

lint: all | deps-lint ## shellcheck, flake8; what common/ may include; options missing from sample or docs
	@git ls-files -z '*.sh' .ci/run .ci/nightly | xargs -0 shellcheck -x
	@git ls-files -z '*.py' | xargs -0 flake8 --isolated --select=E9,F --extend-ignore=F811 # fixtures
	@! grep -nE '^#include "(producer|matcher|guardian|ctl|tools)/' common/*.[ch] || \
	    { echo "common/ includes nothing from a daemon" >&2; exit 1; }
	@tools/optscan.sh $(BUILD)/bin

# Packages by what needs them; tools/deps.sh knows which and why.
DEPS_GROUPS := deps-build deps-unit deps-servers deps-tests deps-bench deps-lint deps-fuzz
.PHONY: deps $(DEPS_GROUPS)
deps: ## install every Debian package that any target needs
	@tools/deps.sh $(DEPS_GROUPS:deps-%=%)
$(DEPS_GROUPS): deps-%:
	@tools/deps.sh $*

.PHONY: install clean help
install: all ## programs into $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin

clean: ## stop the stacks and remove every build directory
	@for stack in build*/run build*/test-stack* build*/chaos/*/stack; do tools/stack.sh remove "$$stack"; done
	rm -rf build build-address build-thread

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
