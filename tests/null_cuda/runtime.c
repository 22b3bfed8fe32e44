// What does the CUDA runtime answer here? Device memory is host memory, copies are immediate, kernels do nothing.
#define _GNU_SOURCE
#include "null.h"
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

__thread int null_context;
static __thread int current; // device
static int has_context[16];

int null_has_context(int device) { return has_context[device]; }

static cudaError_t answer(void) { return null_is_broken() ? cudaErrorIllegalAddress : cudaSuccess; }

// The answer of a call that opens the current device's context where this process has none there yet.
static cudaError_t answer_in_context(void) {
    has_context[current] = 1;
    null_context = current + 1;
    return answer();
}

// --- Kernels. Libraries tell the names of theirs when they are loaded; several ways lead to a launch.

enum { KERNELS = 1 << 19 };
static struct {
    const void *host;
    const char *name;
} kernels[KERNELS];

static unsigned kernel_slot(const void *host) {
    unsigned at = ((unsigned long)host * 11400714819323198485ul) >> 45;
    while (kernels[at].host && kernels[at].host != host)
        at = (at + 1) % KERNELS;
    return at;
}

void __cudaRegisterFunction(void **module, const char *host, char *device, const char *name, int limit, void *thread,
                            void *block, void *block_size, void *grid_size, int *warp_size) {
    static void (*real)(void **, const char *, char *, const char *, int, void *, void *, void *, void *, int *);
    if (!real)
        real = dlsym(RTLD_NEXT, "__cudaRegisterFunction");
    unsigned at = kernel_slot(host);
    kernels[at].host = host;
    kernels[at].name = name;
    real(module, host, device, name, limit, thread, block, block_size, grid_size, warp_size);
}

static cudaError_t launch(const void *host) {
    const char *name = kernels[kernel_slot(host)].name;
    null_count(LAUNCH, host, name ? name : "kernel of no name");
    return answer_in_context();
}

cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t s) {
    return launch(f);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *f, void **arguments) { return launch(f); }
// What nvcc of CUDA 13 makes of <<<...>>>.
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *f) {
    *kernel = (cudaKernel_t)f;
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t s) {
    return launch((const void *)kernel);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *f) {
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 32;
    attributes->binaryVersion = attributes->ptxVersion = 10 * MAJOR + MINOR;
    attributes->maxDynamicSharedSizeBytes = 49152;
    return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *f, enum cudaFuncAttribute attribute, int value) { return cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int size, size_t shared,
                                                                   unsigned flags) {
    *blocks = 2;
    return cudaSuccess;
}

// --- Devices.

cudaError_t cudaGetDeviceCount(int *count) {
    *count = null_devices();
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int *device) {
    *device = current;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= null_devices())
        return cudaErrorInvalidDevice;
    current = device;
    return answer_in_context();
}
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Null H100");
    p->major = MAJOR;
    p->minor = MINOR;
    p->totalGlobalMem = null_memory();
    p->multiProcessorCount = MULTIPROCESSORS;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->maxThreadsPerMultiProcessor = 2048;
    p->maxBlocksPerMultiProcessor = 32;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = SHARED_BYTES;
    p->sharedMemPerMultiprocessor = SHARED_BYTES + 1024;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->l2CacheSize = 50 << 20;
    p->textureAlignment = 512;
    p->memPitch = 2147483647;
    p->unifiedAddressing = p->concurrentKernels = 1;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    struct cudaDeviceProp p;
    cudaGetDeviceProperties(&p, device);
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = p.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = p.sharedMemPerBlockOptin; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxGridDimX: *value = p.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = p.maxGridSize[1]; break;
    default: *value = 0;
    }
    return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void) {
    null_count(WAIT, "cudaDeviceSynchronize", "cudaDeviceSynchronize");
    return answer_in_context();
}
cudaError_t cudaGetLastError(void) { return answer(); }
cudaError_t cudaPeekAtLastError(void) { return answer(); }
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                             unsigned long long flags, enum cudaDriverEntryPointQueryResult *result) {
    *function = dlsym(RTLD_DEFAULT, name);
    if (result)
        *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

// --- Streams and events: all work is done when it is asked for, so that nothing is ever waited for.

static cudaError_t make(void *handle) {
    *(void **)handle = calloc(1, 64);
    return answer_in_context();
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return make(s); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) { return make(s); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) { return make(s); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t s) { return answer(); }
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    null_count(WAIT, "cudaStreamSynchronize", "cudaStreamSynchronize");
    return answer_in_context();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned flags) { return answer(); }
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
    *status = cudaStreamCaptureStatusNone;
    return answer();
}
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority) {
    *priority = 0;
    return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) { return cudaSuccess; }
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **nodes, const cudaGraphEdgeData **edges,
                                     size_t *num_nodes) {
    *status = cudaStreamCaptureStatusNone;
    if (id)
        *id = 0;
    return answer();
}
cudaError_t cudaEventCreate(cudaEvent_t *event) { return make(event); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) { return make(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return answer(); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s) { return answer_in_context(); }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t s, unsigned flags) { return answer_in_context(); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    null_count(WAIT, "cudaEventSynchronize", "cudaEventSynchronize");
    return answer();
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to) {
    *milliseconds = 0;
    return answer();
}

// --- Memory. Each device has a range of addresses of its own, and so has pinned memory: an address tells its place.

enum { PLACES = 17, PINNED = 16, BLOCKS = 1 << 16 };
static const size_t RANGE = (size_t)1 << 40;
static char *begins[PLACES];
static size_t reserved[PLACES], used[PLACES];
static struct {
    void *at;
    size_t size;
} blocks[BLOCKS];
static int num_blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int place_of(const void *pointer) { // -1: memory that CUDA does not know
    for (int place = 0; place < PLACES; place++)
        if (begins[place] && (size_t)((const char *)pointer - begins[place]) < RANGE)
            return place;
    return -1;
}

// Addresses are not used twice; the pages of what is freed go back to the system.
static void *allocate(int place, size_t size) {
    void *found = NULL;
    size_t room = ((size ? size : 1) + 4095) & ~(size_t)4095;
    pthread_mutex_lock(&lock);
    if (!begins[place]) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *begin = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, flags, -1, 0);
        begins[place] = begin == MAP_FAILED ? NULL : begin;
    }
    int fits = place == PINNED || used[place] + room <= null_memory();
    if (begins[place] && fits && num_blocks < BLOCKS && reserved[place] + room <= RANGE) {
        found = begins[place] + reserved[place];
        reserved[place] += room;
        used[place] += room;
        blocks[num_blocks].at = found;
        blocks[num_blocks++].size = room;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static cudaError_t give_back(void *pointer) {
    pthread_mutex_lock(&lock);
    for (int i = num_blocks - 1; i >= 0; i--)
        if (blocks[i].at == pointer) {
            madvise(pointer, blocks[i].size, MADV_DONTNEED);
            used[place_of(pointer)] -= blocks[i].size;
            blocks[i] = blocks[--num_blocks];
            break;
        }
    pthread_mutex_unlock(&lock);
    return answer();
}

size_t null_memory_left(void) { return null_memory() - used[current]; }
size_t null_memory_reserved(int place) { return reserved[place]; } // bytes that were ever asked for there

cudaError_t cudaMalloc(void **pointer, size_t size) {
    *pointer = allocate(current, size);
    return *pointer ? answer_in_context() : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void *pointer) { return pointer ? give_back(pointer) : answer(); }
cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned flags) {
    *pointer = allocate(PINNED, size);
    return *pointer ? answer_in_context() : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void *pointer) { return give_back(pointer); }
cudaError_t cudaMemGetInfo(size_t *left, size_t *total) {
    *left = null_memory_left();
    *total = null_memory();
    return answer_in_context();
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer) {
    int place = place_of(pointer);
    memset(attributes, 0, sizeof *attributes);
    attributes->type = place < 0          ? cudaMemoryTypeUnregistered
                       : place == PINNED ? cudaMemoryTypeHost
                                          : cudaMemoryTypeDevice;
    attributes->device = place < 0 || place == PINNED ? current : place;
    attributes->devicePointer = attributes->hostPointer = (void *)pointer;
    return cudaSuccess;
}

// With NULL_CUDA_ZEROS what comes back from the device is zero, so that losses are finite.
static cudaError_t copy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    static int zeros = -1;
    if (zeros < 0)
        zeros = getenv("NULL_CUDA_ZEROS") != NULL;
    const char *name = kind == cudaMemcpyHostToDevice   ? (place_of(from) == PINNED ? "to device" : "to device, pageable")
                       : kind == cudaMemcpyDeviceToHost ? (place_of(to) == PINNED ? "to host" : "to host, pageable")
                                                        : "on device";
    null_count(COPY, name, name);
    if (zeros && kind == cudaMemcpyDeviceToHost)
        memset(to, 0, size);
    else
        memmove(to, from, size);
    return answer_in_context();
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind, cudaStream_t s) {
    return copy(to, from, size, kind);
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    null_count(WAIT, "cudaMemcpy", "cudaMemcpy");
    return copy(to, from, size, kind);
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t s) {
    null_count(COPY, "cudaMemset", "cudaMemset");
    memset(to, value, size);
    return answer_in_context();
}
cudaError_t cudaMemset(void *to, int value, size_t size) { return cudaMemsetAsync(to, value, size, NULL); }
