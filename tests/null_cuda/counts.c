// Which calls were made, and is the device broken? The table that Python reads through ctypes.
#include "null.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOTS = 1 << 12 };
static struct {
    const void *key;
    const char *name;
    enum kind kind;
    long times;
} table[SLOTS];
static int slots_used[SLOTS], num_used;
static long num_launches;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void null_count(enum kind kind, const void *key, const char *name) {
    pthread_mutex_lock(&lock);
    unsigned at = ((unsigned long)key * 11400714819323198485ul) >> 52;
    while (table[at].key && table[at].key != key)
        at = (at + 1) % SLOTS;
    if (!table[at].key && num_used < SLOTS / 2) {
        table[at].key = key;
        table[at].name = name;
        table[at].kind = kind;
        slots_used[num_used++] = at;
    }
    table[at].times++;
    num_launches += kind == LAUNCH;
    pthread_mutex_unlock(&lock);
}

int null_num_counters(void) { return num_used; }
const char *null_counter_name(int i) { return table[slots_used[i]].name; }
int null_counter_kind(int i) { return table[slots_used[i]].kind; }
long null_counter_times(int i) { return table[slots_used[i]].times; }

void null_reset(void) {
    for (int i = 0; i < num_used; i++)
        table[slots_used[i]].times = 0;
}

// NULL_CUDA_BREAK names a file that holds a number of launches. The first process that has made so many loses its
// context; it takes the file away, so that it stays the only one.
int null_is_broken(void) {
    static int broken, begun;
    static long limit = -1;
    const char *path = getenv("NULL_CUDA_BREAK");
    if (broken || !path)
        return broken;
    if (!begun) {
        FILE *file = fopen(path, "r");
        if (file) {
            if (fscanf(file, "%ld", &limit) != 1)
                limit = -1;
            fclose(file);
        }
        begun = 1;
    }
    if (limit >= 0 && num_launches >= limit) {
        broken = unlink(path) == 0;
        limit = -1;
    }
    return broken;
}

int null_devices(void) {
    const char *text = getenv("NULL_CUDA_DEVICES");
    return text ? atoi(text) : 1;
}

size_t null_memory(void) {
    const char *text = getenv("NULL_CUDA_GIB");
    return (size_t)(text ? atol(text) : 80) << 30;
}
