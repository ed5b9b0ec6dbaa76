// The native host of functions in WebAssembly. hitless/wasm/__main__.py starts it, with words of the form key=value:
//   host library=PATH memory=MB [folder=ro|rw:HOST:GUEST] [variable=NAME=VALUE] prepare=MODULE kept=FILE
//   host library=PATH memory=MB [...] kept=FILE gateway=SOCKET handler=NAME function=NAME version=V launch=N slots=FD slot=N
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "library.h"
#include "module.h"
#include "protocol.h"
#include "serve.h"

static const char *after(const char *word, const char *key) {
  size_t size = strlen(key);
  return strncmp(word, key, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}

static void wrong(const char *word) {
  fprintf(stderr, "the host does not take %s: start it by python3 -m hitless.wasm\n", word);
  exit(2);
}

static void grant_folder(struct grants *grants, char *word, char *value) {
  char *host = strchr(value, ':'), *guest = host != NULL ? strchr(host + 1, ':') : NULL;
  if (guest == NULL || grants->folder_count == MAX_FOLDERS) wrong(word);
  *guest = 0;
  grants->folders[grants->folder_count].writable = value[1] == 'w';
  grants->folders[grants->folder_count].host = host + 1;
  grants->folders[grants->folder_count++].guest = guest + 1;
}

static void grant_variable(struct grants *grants, char *word, char *value) {
  char *is = strchr(value, '=');
  if (is == NULL || grants->variable_count == MAX_VARIABLES) wrong(word);
  *is = 0;
  grants->names[grants->variable_count] = value;
  grants->values[grants->variable_count++] = is + 1;
}

static uint8_t *slot_of(int descriptor, size_t index) {
  size_t size = (index + 1) * SLOT_SIZE;
  uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) {
    perror("the supervisor's memory");
    exit(1);
  }
  return memory + index * SLOT_SIZE;
}

int main(int count, char **words) {
  static struct grants grants;
  struct worker worker = {.launch = "0", .version = "", .function = "", .handler = ""};
  const char *library = NULL, *module = NULL, *kept = NULL, *value;
  int slots = -1;
  size_t slot = 0;
  for (int i = 1; i < count; i++) {
    char *word = words[i];
    if ((value = after(word, "library"))) library = value;
    else if ((value = after(word, "memory"))) grants.memory = strtoul(value, NULL, 10) << 20;
    else if ((value = after(word, "folder"))) grant_folder(&grants, word, word + (value - word));
    else if ((value = after(word, "variable"))) grant_variable(&grants, word, word + (value - word));
    else if ((value = after(word, "prepare"))) module = value;
    else if ((value = after(word, "kept"))) kept = value;
    else if ((value = after(word, "gateway"))) worker.gateway = value;
    else if ((value = after(word, "handler"))) worker.handler = value;
    else if ((value = after(word, "function"))) worker.function = value;
    else if ((value = after(word, "version"))) worker.version = value;
    else if ((value = after(word, "launch"))) worker.launch = value;
    else if ((value = after(word, "slots"))) slots = atoi(value);
    else if ((value = after(word, "slot"))) slot = strtoul(value, NULL, 10);
    else wrong(word);
  }
  if (library == NULL || kept == NULL || (module == NULL && (worker.gateway == NULL || slots < 0))) wrong("so few words");
  setlinebuf(stderr);
  library_open(library);
  if (module != NULL) {
    module_prepare(module, kept, &grants);
    return 0;
  }
  worker.slot = slot_of(slots, slot);
  module_open(kept, &grants);
  serve(&worker);
  return 0;
}
