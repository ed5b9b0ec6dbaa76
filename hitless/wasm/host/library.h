// The engine's library, which ships in a Python wheel and is opened by its path.
#pragma once
#include "libwasmtime.h"

// Opens it and finds all that is called of it. Ends the program, with the reason, unless it is the very library whose
// bindings the declarations were made from.
void library_open(const char *path);
