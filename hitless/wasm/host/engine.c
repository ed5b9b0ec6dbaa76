#define _GNU_SOURCE
#include "engine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STACK (1 << 20)               // bytes a module may recurse into; the thread has eight times as much
#define KEPT_RESIDENT (256 << 10)     // bytes of an instance's memory that are cleared, not given back to the kernel
#define TABLE_ELEMENTS 65536
#define INSTANCE_SIZE (1 << 20)       // bytes of the engine's own about an instance

wasm_engine_t *engine_new(size_t memory) {
  wasm_config_t *config = wasm_config_new();
  wasmtime_config_epoch_interruption_set(config, true);
  wasmtime_config_max_wasm_stack_set(config, STACK);
  wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
  wasmtime_pooling_allocation_config_total_core_instances_set(pool, 1);
  wasmtime_pooling_allocation_config_total_memories_set(pool, 1);
  wasmtime_pooling_allocation_config_total_tables_set(pool, 8);
  wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, 8);
  wasmtime_pooling_allocation_config_table_elements_set(pool, TABLE_ELEMENTS);
  wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, INSTANCE_SIZE);
  wasmtime_pooling_allocation_config_max_memory_size_set(pool, memory);
  wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, KEPT_RESIDENT);
  wasmtime_pooling_allocation_strategy_set(config, pool);
  wasm_engine_t *engine = wasm_engine_new_with_config(config);
  if (engine == NULL) {
    fprintf(stderr, "the WebAssembly engine cannot run with %zu MB of memory for a module\n", memory >> 20);
    exit(1);
  }
  return engine;
}

static void first_line(wasm_byte_vec_t *said, char *text, size_t size) {
  size_t length = 0;
  while (length < said->size && length + 1 < size && said->data[length] != 0) {
    text[length] = said->data[length] == '\n' ? ' ' : (char)said->data[length];
    length++;
  }
  text[length] = 0;
  wasm_byte_vec_delete(said);
}

void error_text(wasmtime_error_t *error, char *text, size_t size) {
  wasm_byte_vec_t said;
  wasmtime_error_message(error, &said);
  wasmtime_error_delete(error);
  first_line(&said, text, size);
}

void trap_text(wasm_trap_t *trap, char *text, size_t size) {
  wasm_byte_vec_t said;
  wasm_trap_message(trap, &said);
  wasm_trap_delete(trap);
  first_line(&said, text, size);
}

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

// One timer, which is set anew only for a deadline before the one that it waits for: a call costs no system call.
// Its signal comes to the thread that calls, so that handler and calls are in order.
static timer_t timer;
static bool timer_made;
static wasm_engine_t *volatile running;  // NULL between two calls
static volatile uint64_t deadline, armed;

static void arm(uint64_t at) {
  struct itimerspec when = {.it_value = {(time_t)(at / 1000000000U), (long)(at % 1000000000U)}};
  armed = at;
  timer_settime(timer, TIMER_ABSTIME, &when, NULL);
}

static void ring(int number) {
  (void)number;
  armed = 0;
  if (running == NULL) return;
  if (now_ns() >= deadline) {
    wasmtime_engine_increment_epoch(running);  // an atomic addition, which a signal handler may do
  } else {
    arm(deadline);
  }
}

void clock_start(wasm_engine_t *engine, uint64_t deadline_ns) {
  if (!timer_made) {
    struct sigaction action = {.sa_handler = ring, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event._sigev_un._tid = gettid();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
      perror("timer_create");
      exit(1);
    }
    timer_made = true;
  }
  uint64_t now = now_ns();
  deadline = deadline_ns > now ? deadline_ns : now + 1;
  running = engine;
  if (armed == 0 || armed > deadline) arm(deadline);
}

void clock_stop(void) { running = NULL; }
