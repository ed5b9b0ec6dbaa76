#define _GNU_SOURCE
#include "library.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUILD_ID_NOTE 3  // NT_GNU_BUILD_ID

static int same_build(struct dl_phdr_info *object, size_t size, void *base) {
  (void)size;
  if ((void *)object->dlpi_addr != base) return 0;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *header = &object->dlpi_phdr[i];
    if (header->p_type != PT_NOTE) continue;
    const char *at = (const char *)object->dlpi_addr + header->p_vaddr, *end = at + header->p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const ElfW(Nhdr) *note = (const void *)at;
      const char *name = at + sizeof *note, *content = name + ((note->n_namesz + 3) & ~3U);
      if (note->n_type == BUILD_ID_NOTE && note->n_descsz == sizeof engine_build_id && memcmp(name, "GNU", 4) == 0) {
        return memcmp(content, engine_build_id, sizeof engine_build_id) == 0 ? 1 : -1;
      }
      at = content + ((note->n_descsz + 3) & ~3U);
    }
  }
  return -1;
}

void library_open(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  struct link_map *map = NULL;
  if (library == NULL || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) {
    fprintf(stderr, "the WebAssembly engine cannot be opened: %s\n", dlerror());
    exit(1);
  }
  if (dl_iterate_phdr(same_build, (void *)map->l_addr) != 1) {
    fprintf(stderr, "%s is not the library of wasmtime " ENGINE_VERSION " that this host was built for: run `make setup`\n",
            path);
    exit(1);
  }
  for (const struct engine_symbol *one = engine_symbols; one->name != NULL; one++) {
    if ((*one->address = dlsym(library, one->name)) == NULL) {
      fprintf(stderr, "%s has no %s: run `make setup`\n", path, one->name);
      exit(1);
    }
  }
}
