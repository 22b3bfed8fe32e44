// What do all parts of the null device share? One table of calls by name, the sizes of the device, and its faults.
#pragma once
#include <stddef.h>

enum kind { LAUNCH, COPY, WAIT };

// Count one call; calls of one name pass the same `key`, which may be any address, such as that of the name.
void null_count(enum kind kind, const void *key, const char *name);
// Whether the context is lost: from then on every call answers so, as on a device that met an illegal address.
int null_is_broken(void);

int null_devices(void);        // NULL_CUDA_DEVICES, 1 without it
size_t null_memory(void);      // bytes of each device: NULL_CUDA_GIB, 80 without it
size_t null_memory_left(void); // of the current device

// The context of this thread: a device's number plus one, 0 for none. Calls of the runtime that need one set it.
extern __thread int null_context;
int null_has_context(int device); // whether any thread of this process has one there

enum { MULTIPROCESSORS = 132, SHARED_BYTES = 232448, MAJOR = 9, MINOR = 0 }; // as an H100

// A function of a library that has nothing to do; the caller's arguments stay where they are.
#define NOTHING(name) \
    int name(void) { return 0; }
// A function that would launch a kernel.
#define LAUNCHES(name)                    \
    int name(void) {                      \
        null_count(LAUNCH, #name, #name); \
        return null_is_broken() ? 1 : 0;  \
    }
