# Stint. `make help` lists what can be asked for.
#
# Sources are found by folder: a new .c file in common/, broker/, worker/, scheduler/ or api/ is built
# without an edit here. Two builds live side by side: build/obj (release) and build/san (ASan+UBSan, tests).

SHELL := /bin/bash
BUILD := build
PREFIX ?= /usr/local
prefix ?= $(PREFIX)
DESTDIR ?=
PYTHON ?= python3
VERSION := 0.1.0
V ?=
Q := $(if $(V),,@)

# One list of Debian 12 packages: `make deps` installs it, CI and the Dockerfile use it too.
DEPS := gcc libc6-dev make pkg-config ca-certificates curl gzip python3 python3-yaml zstd check clang-format cppcheck \
        libzmq3-dev libczmq-dev libsqlite3-dev libmsgpack-dev libcurl4-openssl-dev libmicrohttpd-dev \
        libzstd-dev libjansson-dev libyajl-dev zlib1g-dev libasan8 libubsan1 sqlite3 docker-compose tzdata \
        iproute2 iptables

# What `make fuzz` and `make bench-peers` need besides; `make test` needs neither.
FUZZ_DEPS := clang libclang-rt-14-dev
PEERS_DEPS := redis-server python3-celery python3-redis beanstalkd gearman-job-server

CC := gcc
WARN := -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wformat=2 -Wno-format-nonliteral -Wno-format-zero-length -fno-common
CPPFLAGS := -I. -I$(BUILD)/gen -D_GNU_SOURCE -DSTINT_VERSION='"$(VERSION)"'
CFLAGS_COMMON := -std=c17 $(WARN) -g -fno-omit-frame-pointer
CFLAGS_obj := $(CFLAGS_COMMON) -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection \
              -fcf-protection -fPIE
CFLAGS_san := $(CFLAGS_COMMON) -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_fuzz := $(filter-out -Werror,$(CFLAGS_COMMON)) -O1 -fsanitize=fuzzer-no-link,address,undefined \
               -fno-sanitize-recover=undefined
CFLAGS_cov := $(CFLAGS_COMMON) -O0 --coverage
LDFLAGS_obj := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LDFLAGS_san := -fsanitize=address,undefined -Wl,--as-needed
LDFLAGS_cov := --coverage -Wl,--as-needed
LIBS := -lczmq -lzmq -lmsgpackc -lsqlite3 -lcurl -lmicrohttpd -lzstd -ljansson -lyajl -lz -lm -lpthread

# Each library is one folder (with its sub-folders); main.c files are the programs' own.
SRC_common := $(wildcard common/*.c) $(wildcard schema/*.c)
SRC_migrate := $(filter-out schema/migrate/main.c,$(wildcard schema/migrate/*.c))
SRC_broker := $(filter-out broker/main.c,$(wildcard broker/*.c))
SRC_worker := $(filter-out worker/main.c,$(wildcard worker/*.c worker/tasks/*.c))
SRC_scheduler := $(filter-out scheduler/main.c,$(wildcard scheduler/*.c))
SRC_api := $(filter-out api/main.c,$(wildcard api/*.c api/http/*.c api/store/*.c))
SRC_cli := $(filter-out api/cli/main.c,$(wildcard api/cli/*.c))
LIBNAMES := common migrate broker worker scheduler api cli
MAIN_stint-broker := broker/main.c
MAIN_stint-worker := worker/main.c
MAIN_stint-scheduler := scheduler/main.c
MAIN_stint-api := api/main.c
MAIN_stint := api/cli/main.c
MAIN_stint-migrate := schema/migrate/main.c
NEEDS_stint-broker := broker common
NEEDS_stint-worker := worker common
NEEDS_stint-scheduler := scheduler common
NEEDS_stint-api := api migrate common
NEEDS_stint := cli common
NEEDS_stint-migrate := migrate common
PROGRAMS := stint stint-api stint-broker stint-worker stint-scheduler stint-migrate
PRESENT := $(foreach p,$(PROGRAMS),$(if $(wildcard $(MAIN_$(p))),$(p)))

TESTS_C := $(wildcard tests/common/test_*.c tests/migrate/test_*.c tests/broker/test_*.c tests/worker/test_*.c \
             tests/worker/tasks/test_*.c tests/scheduler/test_*.c tests/api/test_*.c tests/api/*/test_*.c tests/sim/test_*.c \
             tests/fuzz/test_*.c)
TEST_BINS := $(TESTS_C:tests/%.c=$(BUILD)/tests/%)
TEST_HELPERS := $(wildcard tests/support/*.c tests/sim/sim_*.c)
FUZZ_TARGETS := $(patsubst tests/fuzz/target_%.c,%,$(wildcard tests/fuzz/target_*.c))
BENCH ?= *
BENCHES := $(wildcard tests/bench/bench_$(BENCH).c)
BENCH_BINS := $(BENCHES:tests/bench/%.c=$(BUILD)/bench/%)
TOOLS := $(wildcard tests/tools/*.c)
TOOL_BINS := $(TOOLS:tests/tools/%.c=$(BUILD)/tools/%)
# Layers that a test puts under a whole program (LD_PRELOAD).
PRELOADS := $(patsubst tests/preload/%.c,$(BUILD)/preload/%.so,$(wildcard tests/preload/*.c))

.PHONY: all help deps fuzz fuzz-deps peers-deps bench-peers test check unit demo chaos bench lint format coverage install uninstall clean test-run sanitized docs

all: $(PRESENT:%=$(BUILD)/%) docs/configuration.md ## build the six programs into build/

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | awk -F'\t' '{printf "  make %-10s %s\n",$$1,$$2}'
	@echo "Variables: prefix=/usr/local DESTDIR= KEEP=1 (demo stays up) PORT=8000 (demo) SECONDS=600 SEED= (chaos)"

deps: ## install the missing Debian packages (one list, CI uses it too)
	@missing=""; for p in $(DEPS); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi

# $(1) build kind, $(2) library
define library
$(BUILD)/$(1)/lib$(2).a: $$(SRC_$(2):%.c=$(BUILD)/$(1)/%.o)
	@rm -f $$@; $$(AR) qcs $$@ $$^ # q: two rooms may have files of the same name
endef
define kind
$(BUILD)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@$(if $(V),,echo "  CC   $(1) $$<")
	$(Q)$$(CC) $$(CPPFLAGS) $$(CFLAGS_$(1)) -MMD -MP -c $$< -o $$@
$(foreach l,$(LIBNAMES),$(eval $(call library,$(1),$(l))))
endef
$(foreach k,obj san cov,$(eval $(call kind,$(k))))

# The migrations are compiled into the programs that need them: one generated C file, never committed.
$(BUILD)/gen/versions.inc: $(wildcard schema/versions/*.sql) schema/embed.py
	@mkdir -p $(@D)
	@$(PYTHON) schema/embed.py schema/versions > $@
$(foreach k,obj san cov,$(BUILD)/$(k)/api/store/migrate.o): $(BUILD)/gen/versions.inc

define program
$(BUILD)/$(1): $(BUILD)/obj/$(MAIN_$(1):.c=.o) $(foreach n,$(NEEDS_$(1)),$(BUILD)/obj/lib$(n).a)
	@echo "  LINK $$@"
	$(Q)$$(CC) $$(CFLAGS_obj) $$(LDFLAGS_obj) $$^ $$(LIBS) -o $$@
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

SAN_LIBS := $(foreach n,worker scheduler broker api cli migrate common,$(BUILD)/san/lib$(n).a)
$(BUILD)/tests/%: $(BUILD)/san/tests/%.o $(TEST_HELPERS:%.c=$(BUILD)/san/%.o) $(SAN_LIBS)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_san) $(LDFLAGS_san) $(LDFLAGS_one) $^ $(SAN_LIBS) -lcheck -lsubunit -lrt $(LIBS) -o $@

FUZZ_OBJS := $(FUZZ_TARGETS:%=$(BUILD)/san/tests/fuzz/target_%.o) $(BUILD)/san/tests/fuzz/fuzz.o
$(BUILD)/tests/fuzz/test_corpus: $(FUZZ_OBJS)
# With clang only, as `make fuzz` calls it.
$(BUILD)/fuzz_%: tests/fuzz/libfuzzer.c $(BUILD)/san/tests/fuzz/target_%.o $(BUILD)/san/tests/fuzz/fuzz.o $(SAN_LIBS)
	@echo "  LINK $@"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_san) $(LDFLAGS_san) -fsanitize=fuzzer -DFUZZ_TARGET=fuzz_$* $^ $(SAN_LIBS) $(LIBS) -o $@
# Its allocations, and those of the code it runs, go where the test can let them fail.
$(BUILD)/tests/api/store/test_sweep: LDFLAGS_one := -Wl,--wrap=malloc,--wrap=realloc

OBJ_LIBS := $(foreach n,worker scheduler broker api cli migrate common,$(BUILD)/obj/lib$(n).a)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(OBJ_LIBS)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_obj) $(LDFLAGS_obj) $^ $(OBJ_LIBS) $(LIBS) -o $@
$(BUILD)/tools/%: $(BUILD)/obj/tests/tools/%.o $(OBJ_LIBS)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS_obj) $(LDFLAGS_obj) $^ $(OBJ_LIBS) $(LIBS) -o $@

$(BUILD)/preload/%.so: tests/preload/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_COMMON) -O2 -fPIC -shared $< -o $@

sanitized: $(TEST_BINS)

check: ## the quick tests, under 60 s: unit tests under ASan+UBSan and a short simulation
	@$(MAKE) --no-print-directory -j2 all sanitized $(TOOL_BINS)
	@$(PYTHON) tests/run.py check

test: deps ## everything that CI runs
	@$(MAKE) --no-print-directory test-run
test-run:
	@$(MAKE) --no-print-directory -j2 all sanitized $(TOOL_BINS) $(PRELOADS)
	@$(PYTHON) tests/run.py all

demo: deps ## the whole fleet on real payments, and a report (KEEP=1 leaves it up)
	@$(MAKE) --no-print-directory -j2 all
	@KEEP=$(KEEP) PORT=$(PORT) bash examples/demo.sh

chaos: deps ## a real fleet under random faults, judged from outside (SECONDS=600 SEED=a number, else drawn)
	@$(MAKE) --no-print-directory -j2 all $(PRELOADS)
	@$(PYTHON) tests/chaos/chaos.py --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

bench: ## figures, each with its reference in the same run (BENCH=noop: only that one of tests/bench)
	@$(MAKE) --no-print-directory -j2 all $(BENCH_BINS) $(TOOL_BINS)
	@for b in $(BENCH_BINS); do echo "== $$b"; $$b || exit 1; done
	@for b in $(wildcard tests/bench/bench_$(BENCH).py); do echo "== $$b"; $(PYTHON) $$b || exit 1; done

fuzz-deps: ## install what `make fuzz` needs besides
	@$(MAKE) --no-print-directory deps DEPS='$(FUZZ_DEPS)'
SECONDS ?= 60
TARGET ?= $(FUZZ_TARGETS)
fuzz: ## libFuzzer on TARGET=wire (or all in turn) for SECONDS=60 each
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/fuzz CC=clang CFLAGS_san='$(CFLAGS_fuzz)' $(TARGET:%=$(BUILD)/fuzz/fuzz_%)
	@$(PYTHON) tests/fuzz/fuzz.py $(BUILD)/fuzz $(SECONDS) $(TARGET)

peers-deps: ## install what `make bench-peers` compares with (their servers may start: stop them)
	@$(MAKE) --no-print-directory deps DEPS='$(PEERS_DEPS)'
bench-peers: ## Stint beside Celery, beanstalkd and gearmand (those that are installed), ROUNDS=3
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/bench/peers/worker
	@/usr/bin/python3 tests/bench/peers/peers.py $(or $(ROUNDS),3)

FORMATTED := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
format: ## lay the code out with clang-format
	@clang-format -i $(FORMATTED)
lint: ## layout and static analysis, changes nothing
	@clang-format --dry-run -Werror $(FORMATTED)
	@cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -I. --enable=warning,portability \
	  --suppress=*:schema/*.def --suppress=missingIncludeSystem $(filter %.c,$(filter-out tests/%,$(FORMATTED)))

coverage: ## line coverage of the unit tests, in coverage/
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/coverage CFLAGS_san='$(CFLAGS_cov)' LDFLAGS_san='$(LDFLAGS_cov)' sanitized
	@for t in $(TEST_BINS:$(BUILD)/%=$(BUILD)/coverage/%); do $$t >/dev/null || exit 1; done
	@mkdir -p coverage; cd coverage && find ../$(BUILD)/coverage/san -name '*.gcda' ! -path '*/tests/*' -exec gcov -n {} + 2>/dev/null | \
	  awk '/^File/{f=$$2} /^Lines/{print $$0, f}' | grep -v /usr | sort -t: -k2 -n | tee summary.txt

docs: docs/configuration.md ## docs/configuration.md from schema/config.def (made by `make` too)
docs/configuration.md: $(BUILD)/stint-api
	@$< --help-markdown > $@

install: all ## install the programs (prefix, DESTDIR)
	install -d $(DESTDIR)$(prefix)/bin $(DESTDIR)$(prefix)/share/doc/stint
	install -m 755 $(PROGRAMS:%=$(BUILD)/%) $(DESTDIR)$(prefix)/bin
	install -m 644 README.md LICENSE $(DESTDIR)$(prefix)/share/doc/stint
	install -d $(DESTDIR)$(prefix)/share/stint/versions
	install -m 644 schema/versions/*.sql $(DESTDIR)$(prefix)/share/stint/versions
uninstall: ## remove what install put there
	rm -f $(PROGRAMS:%=$(DESTDIR)$(prefix)/bin/%)
	rm -rf $(DESTDIR)$(prefix)/share/doc/stint $(DESTDIR)$(prefix)/share/stint

clean: ## remove build/ and coverage/
	rm -rf $(BUILD) coverage

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:
