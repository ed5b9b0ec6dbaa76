#define _GNU_SOURCE
#include "module.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "protocol.h"

#define INITIALIZE_NS 1000000000U  // a reactor's `_initialize` takes no longer than that
#define WASI "wasi_snapshot_preview1"
#define OURS "hitless"

static struct {
  const struct grants *grants;
  wasm_engine_t *engine;
  wasmtime_module_t *module;
  wasmtime_linker_t *linker;
  wasmtime_instance_pre_t *pre;
  bool reactor;
} self;

// The instance of the call in hand, or of the next one.
static struct {
  wasmtime_store_t *store;
  wasmtime_context_t *context;
  wasmtime_instance_t instance;
  char failure[1024];  // why there is none
} live;

// The call in hand.
static const struct request *asked;
static struct answer *given;
static struct {
  uint8_t *data;
  size_t size, room;
  bool full;
} out, fields;

static void fail(const char *format, const char *name, const char *what) {
  fprintf(stderr, format, name, what);
  exit(1);
}

static bool append(__typeof__(&out) to, const void *data, size_t size) {
  if (to->size + size > MAX_FRAME) return !(to->full = true);
  if (to->size + size > to->room) {
    size_t room = 2 * (to->size + size) + 4096;
    uint8_t *larger = realloc(to->data, room);
    if (larger == NULL) return !(to->full = true);
    to->data = larger;
    to->room = room;
  }
  memcpy(to->data + to->size, data, size);
  to->size += size;
  return true;
}

static int64_t written(void *data, uint8_t *bytes, uint64_t size) {
  (void)data;
  return append(&out, bytes, size) ? (int64_t)size : -ENOSPC;
}

// A module's bytes, NULL for what is not all in its memory.
static uint8_t *inside(wasmtime_caller_t *caller, uint32_t at, uint32_t size) {
  wasmtime_extern_t memory;
  if (!wasmtime_caller_export_get(caller, "memory", 6, &memory) || memory.kind != WASMTIME_EXTERN_MEMORY) return NULL;
  wasmtime_context_t *context = wasmtime_caller_context(caller);
  if ((uint64_t)at + size > wasmtime_memory_data_size(context, &memory.of.memory)) return NULL;
  return wasmtime_memory_data(context, &memory.of.memory) + at;
}

static uint64_t trap(const char *said) { return (uint64_t)(uintptr_t)wasmtime_trap_new(said, strlen(said)); }

#define HOST_FUNCTION(name)                                                                                       \
  static uint64_t name(void *data, wasmtime_caller_t *caller, wasmtime_val_t *in, uint64_t in_count,              \
                       wasmtime_val_t *result, uint64_t out_count)
#define UNUSED (void)data, (void)caller, (void)in_count, (void)result, (void)out_count

// hitless.get(what, at, room) -> size: copies at most `room` bytes of the request's head (0) or the configuration (1).
HOST_FUNCTION(host_get) {
  UNUSED;
  static const struct bytes nothing;
  const struct bytes *found = asked == NULL ? &nothing : in[0].of.i32 == 0 ? &asked->head : &asked->configuration;
  if (in[0].of.i32 < 0 || in[0].of.i32 > 1) return trap("hitless.get: expected 0 or 1");
  uint32_t room = (uint32_t)in[2].of.i32;
  if (room > found->size) room = (uint32_t)found->size;
  uint8_t *at = inside(caller, (uint32_t)in[1].of.i32, room);
  if (at == NULL) return trap("hitless.get: out of the module's memory");
  if (room > 0) memcpy(at, found->data, room);
  result[0].kind = WASMTIME_I32;
  result[0].of.i32 = (int32_t)found->size;
  return 0;
}

// hitless.status(status): of the answer.
HOST_FUNCTION(host_status) {
  UNUSED;
  if (in[0].of.i32 < 200 || in[0].of.i32 > 599) return trap("hitless.status: expected a status of 200 to 599");
  if (given != NULL) given->status = in[0].of.i32;
  return 0;
}

// hitless.field(name, size, value, size): one more field of the answer.
HOST_FUNCTION(host_field) {
  UNUSED;
  uint32_t sizes[2] = {(uint32_t)in[1].of.i32, (uint32_t)in[3].of.i32};
  for (int i = 0; i < 2; i++) {
    const uint8_t *text = inside(caller, (uint32_t)in[2 * i].of.i32, sizes[i]);
    if (text == NULL) return trap("hitless.field: out of the module's memory");
    if ((i == 0 && sizes[i] == 0) || memchr(text, '\n', sizes[i]) || memchr(text, '\r', sizes[i])) {
      return trap("hitless.field: a name without letters, or a line feed");
    }
    if (fields.size > 0) append(&fields, "\n", 1);
    size_t start = fields.size;
    if (!append(&fields, text, sizes[i])) return trap("hitless.field: too much");
    for (size_t at = start; i == 0 && at < fields.size; at++) fields.data[at] = (uint8_t)tolower(fields.data[at]);
  }
  return 0;
}

static void define(const char *name, __typeof__(&host_get) function, size_t in_count, size_t out_count) {
  wasm_valtype_t *types[4];
  wasm_valtype_vec_t in, results;
  for (size_t i = 0; i < in_count; i++) types[i] = wasm_valtype_new(WASMTIME_I32);
  wasm_valtype_vec_new(&in, in_count, types);
  for (size_t i = 0; i < out_count; i++) types[i] = wasm_valtype_new(WASMTIME_I32);
  wasm_valtype_vec_new(&results, out_count, types);
  wasm_functype_t *type = wasm_functype_new(&in, &results);
  wasmtime_linker_define_func(self.linker, OURS, strlen(OURS), name, strlen(name), type, function, NULL, NULL);
  wasm_functype_delete(type);
}

static bool named(const wasm_byte_vec_t *name, const char *wanted) {
  return name->size == strlen(wanted) && memcmp(name->data, wanted, name->size) == 0;
}

static void check_imports(const char *path) {
  wasm_importtype_vec_t imports;
  wasmtime_module_imports(self.module, &imports);
  for (size_t i = 0; i < imports.size; i++) {
    const wasm_byte_vec_t *module = wasm_importtype_module(imports.data[i]), *name = wasm_importtype_name(imports.data[i]);
    if (!named(module, WASI) && !named(module, OURS)) {
      fprintf(stderr, "%s: it imports %.*s.%.*s, which is not granted: expected functions of " WASI " and " OURS "\n", path,
              (int)module->size, (char *)module->data, (int)name->size, (char *)name->data);
      exit(1);
    }
  }
  wasm_importtype_vec_delete(&imports);
}

static void check_exports(const char *path) {
  wasm_exporttype_vec_t exports;
  bool start = false, handle = false, allocate = false, memory = false;
  wasmtime_module_exports(self.module, &exports);
  for (size_t i = 0; i < exports.size; i++) {
    const wasm_byte_vec_t *name = wasm_exporttype_name(exports.data[i]);
    start |= named(name, "_start");
    handle |= named(name, "handle");
    allocate |= named(name, "allocate");
    memory |= named(name, "memory");
  }
  wasm_exporttype_vec_delete(&exports);
  if (!start && !(handle && allocate && memory)) {
    fail("%s: it has no entry: expected %s\n", path,
         "a command's `_start`, or a reactor's `handle`, `allocate` and `memory`");
  }
  self.reactor = handle && allocate && memory;
}

static wasi_config_t *surroundings(void) {
  const struct grants *grants = self.grants;
  const char *arguments[] = {"function"};
  wasi_config_t *wasi = wasi_config_new();
  wasi_config_set_argv(wasi, 1, arguments);
  wasi_config_set_env(wasi, grants->variable_count, (const char **)grants->names, (const char **)grants->values);
  wasi_config_inherit_stderr(wasi);
  for (size_t i = 0; i < grants->folder_count; i++) {
    if (!wasi_config_preopen_dir(wasi, grants->folders[i].host, grants->folders[i].guest, grants->folders[i].writable)) {
      snprintf(live.failure, sizeof live.failure, "the folder %s that is granted cannot be opened", grants->folders[i].host);
      wasi_config_delete(wasi);
      return NULL;
    }
  }
  return wasi;
}

static void put_away(void) {
  if (live.store != NULL) wasmtime_store_delete(live.store);
  live.store = NULL;
  live.failure[0] = 0;
}

// What a call of the engine came to; NULL for success. `live.failure` has the words.
static const char *outcome(wasmtime_error_t *error, wasm_trap_t *trapped) {
  if (error != NULL) {
    int status = 0;
    if (wasmtime_error_exit_status(error, &status)) {
      wasmtime_error_delete(error);
      if (status == 0) return NULL;
      snprintf(live.failure, sizeof live.failure, "exit with %d", status);
      return "Wasm.Exit";
    }
    error_text(error, live.failure, sizeof live.failure);
    return "Wasm.Error";
  }
  if (trapped != NULL) {
    uint8_t code = 255;
    bool interrupted = wasmtime_trap_code(trapped, &code) && code == WASMTIME_TRAP_CODE_INTERRUPT;
    trap_text(trapped, live.failure, sizeof live.failure);
    if (!interrupted) return "Wasm.Trap";
    snprintf(live.failure, sizeof live.failure, "stopped at the time limit");
    return "Wasm.TimedOut";
  }
  return NULL;
}

static bool export_of(const char *name, int kind, wasmtime_extern_t *found) {
  return wasmtime_instance_export_get(live.context, &live.instance, name, strlen(name), found) && found->kind == kind;
}

// An instance, within the time of `clock_start`. Returns what went wrong.
static const char *instantiate(wasi_config_t *wasi) {
  live.store = wasmtime_store_new(self.engine, NULL, NULL);
  live.context = wasmtime_store_context(live.store);
  wasmtime_store_limiter(live.store, (int64_t)self.grants->memory, -1, -1, -1, -1);
  wasmtime_context_set_epoch_deadline(live.context, 1);
  wasmtime_error_t *error = wasmtime_context_set_wasi(live.context, wasi);
  wasm_trap_t *trapped = NULL;
  if (error == NULL) error = wasmtime_instance_pre_instantiate(self.pre, live.context, &live.instance, &trapped);
  return outcome(error, trapped);
}

static const char *call(const char *name, wasmtime_val_t *in, size_t in_count, wasmtime_val_t *result, size_t out_count) {
  wasmtime_extern_t function;
  wasm_trap_t *trapped = NULL;
  if (!export_of(name, WASMTIME_EXTERN_FUNC, &function)) {
    snprintf(live.failure, sizeof live.failure, "it exports no function %s", name);
    return "Wasm.Error";
  }
  wasmtime_error_t *error = wasmtime_func_call(live.context, &function.of.func, in, in_count, result, out_count, &trapped);
  return outcome(error, trapped);
}

void module_ready(void) {
  if (!self.reactor || live.store != NULL) return;
  wasi_config_t *wasi = surroundings();
  if (wasi == NULL) return;
  wasi_config_inherit_stdout(wasi);
  clock_start(self.engine, now_ns() + INITIALIZE_NS);
  wasmtime_extern_t initialize;
  const char *kind = instantiate(wasi);
  if (kind == NULL && export_of("_initialize", WASMTIME_EXTERN_FUNC, &initialize)) kind = call("_initialize", NULL, 0, NULL, 0);
  clock_stop();
  if (kind == NULL) live.failure[0] = 0;
}

static const char *call_command(void) {
  wasi_config_t *wasi = surroundings();
  if (wasi == NULL) return "Wasm.Error";
  wasm_byte_vec_t in;
  wasm_byte_vec_new(&in, asked->body.size, asked->body.data);
  wasi_config_set_stdin_bytes(wasi, &in);
  wasi_config_set_stdout_custom(wasi, written, NULL, NULL);
  const char *kind = instantiate(wasi);
  if (kind == NULL) kind = call("_start", NULL, 0, NULL, 0);
  if (kind == NULL && out.full) {
    snprintf(live.failure, sizeof live.failure, "the answer has more than %d bytes", MAX_FRAME);
    kind = "Wasm.Error";
  }
  given->body = (struct bytes){out.data, out.size};
  return kind;
}

static const char *call_reactor(void) {
  if (live.store == NULL || live.failure[0] != 0) return "Wasm.Error";
  wasmtime_context_set_epoch_deadline(live.context, 1);
  wasmtime_extern_t memory;
  wasmtime_val_t in[2] = {{.kind = WASMTIME_I32}, {.kind = WASMTIME_I32}}, result = {.kind = WASMTIME_I64};
  wasmtime_val_t size = {.kind = WASMTIME_I32, .of.i32 = (int32_t)asked->body.size};
  const char *kind = call("allocate", &size, 1, &in[0], 1);
  if (kind != NULL) return kind;
  if (!export_of("memory", WASMTIME_EXTERN_MEMORY, &memory)) return "Wasm.Error";
  uint64_t at = (uint32_t)in[0].of.i32, room = wasmtime_memory_data_size(live.context, &memory.of.memory);
  if (at + asked->body.size > room || (at == 0 && asked->body.size > 0)) {
    snprintf(live.failure, sizeof live.failure, "allocate has no room for %zu bytes", asked->body.size);
    return "Wasm.OutOfMemory";
  }
  if (asked->body.size > 0) memcpy(wasmtime_memory_data(live.context, &memory.of.memory) + at, asked->body.data, asked->body.size);
  in[1].of.i32 = size.of.i32;
  kind = call("handle", in, 2, &result, 1);
  if (kind != NULL) return kind;
  uint64_t from = (uint64_t)result.of.i64 >> 32, length = (uint32_t)result.of.i64;
  room = wasmtime_memory_data_size(live.context, &memory.of.memory);
  if (from + length > room) {
    snprintf(live.failure, sizeof live.failure, "the answer of %lu bytes at %lu is out of its memory", length, from);
    return "Wasm.Error";
  }
  given->body = (struct bytes){wasmtime_memory_data(live.context, &memory.of.memory) + from, length};
  return NULL;
}

void module_call(const struct request *request, struct answer *answer) {
  asked = request;
  given = answer;
  *answer = (struct answer){.status = 200};
  out.size = fields.size = 0;
  out.full = false;
  if (!self.reactor) put_away();
  module_ready();
  clock_start(self.engine, request->deadline_ns);
  const char *kind = self.reactor ? call_reactor() : call_command();
  clock_stop();
  answer->fields = (struct bytes){fields.data, fields.size};
  if (kind != NULL) {
    answer->kind = kind;
    snprintf(answer->failure, sizeof answer->failure, "%s", live.failure);
  }
  asked = NULL;
  given = NULL;
}

void module_done(void) { put_away(); }

static uint8_t *content_of(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail("%s: %s\n", path, strerror(errno));
  uint8_t *content = NULL;
  size_t room = 0, got;
  *size = 0;
  do {
    if (*size == room && (content = realloc(content, room = 2 * room + 65536)) == NULL) fail("%s: %s\n", path, strerror(errno));
    got = fread(content + *size, 1, room - *size, file);
    *size += got;
  } while (got > 0);
  fclose(file);
  return content;
}

static void link_module(const char *path) {
  char said[1024];
  check_imports(path);
  check_exports(path);
  self.linker = wasmtime_linker_new(self.engine);
  wasmtime_error_t *error = wasmtime_linker_define_wasi(self.linker);
  define("get", host_get, 3, 1);
  define("status", host_status, 1, 0);
  define("field", host_field, 4, 0);
  if (error == NULL) error = wasmtime_linker_instantiate_pre(self.linker, self.module, &self.pre);
  if (error != NULL) {
    error_text(error, said, sizeof said);
    fail("%s: %s\n", path, said);
  }
}

void module_prepare(const char *path, const char *kept, const struct grants *grants) {
  char said[1024];
  size_t size;
  uint8_t *content = content_of(path, &size);
  bool compiled = size > 4 && memcmp(content, "\x7f" "ELF", 4) == 0;
  if (!compiled && (size < 8 || memcmp(content, "\0asm", 4) != 0)) {
    fail("%s: it is no WebAssembly: expected a module%s\n", path, ", or what this engine has compiled");
  }
  if (!compiled && memcmp(content + 4, "\x01\0\0\0", 4) != 0) {
    fail("%s: it is %s\n", path, "a component, or of another version: expected a core module of version 1");
  }
  self.grants = grants;
  self.engine = engine_new(grants->memory);
  wasmtime_error_t *error = compiled ? wasmtime_module_deserialize(self.engine, content, size, &self.module)
                                     : wasmtime_module_new(self.engine, content, size, &self.module);
  if (error != NULL) {
    error_text(error, said, sizeof said);
    fail(compiled ? "%s: it cannot be run by wasmtime " ENGINE_VERSION ": %s\n" : "%s: %s\n", path, said);
  }
  link_module(path);
  wasi_config_t *wasi = surroundings();
  clock_start(self.engine, now_ns() + INITIALIZE_NS);
  if (wasi == NULL || instantiate(wasi) != NULL) fail("%s: %s\n", path, live.failure);
  clock_stop();
  put_away();
  wasm_byte_vec_t image;
  if ((error = wasmtime_module_serialize(self.module, &image)) != NULL) {
    error_text(error, said, sizeof said);
    fail("%s: %s\n", path, said);
  }
  FILE *file = fopen(kept, "wb");
  if (file == NULL || fwrite(image.data, 1, image.size, file) != image.size || fclose(file) != 0) {
    fail("%s: %s\n", kept, strerror(errno));
  }
}

void module_open(const char *kept, const struct grants *grants) {
  char said[1024];
  self.grants = grants;
  self.engine = engine_new(grants->memory);
  wasmtime_error_t *error = wasmtime_module_deserialize_file(self.engine, kept, &self.module);
  if (error != NULL) {
    error_text(error, said, sizeof said);
    fail("%s: %s\n", kept, said);
  }
  link_module(kept);
}
