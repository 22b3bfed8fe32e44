// What do cuBLAS and cuDNN answer here? Handles that are never read, and products that are counted and not computed.
#include "null.h"
#include <cudnn_graph.h>
#include <stdlib.h>
#include <string.h>

static int make(void *handle) {
    *(void **)handle = calloc(1, 64);
    return 0;
}

// --- cuBLAS. Its headers are not needed: every argument that is left out stays where the caller put it.

enum { ALLOC_FAILED = 3, EXECUTION_FAILED = 13 };

// Needs some memory of its own, which is how a device that is nearly full shows itself.
int cublasCreate_v2(void *handle) {
    if (null_memory_left() < (64ul << 20))
        return ALLOC_FAILED;
    return null_is_broken() ? EXECUTION_FAILED : make(handle);
}
int cublasGetMathMode(void *handle, int *mode) { return *mode = 0; }
int cublasGetPointerMode_v2(void *handle, int *mode) { return *mode = 0; }
NOTHING(cublasDestroy_v2)
NOTHING(cublasSetStream_v2)
NOTHING(cublasSetWorkspace_v2)
NOTHING(cublasSetMathMode)
NOTHING(cublasSetPointerMode_v2)
NOTHING(cublasSetSmCountTarget)
LAUNCHES(cublasSgemm_v2)
LAUNCHES(cublasDgemm_v2)
LAUNCHES(cublasSgemmEx)
LAUNCHES(cublasGemmEx)
LAUNCHES(cublasSgemmStridedBatched)
LAUNCHES(cublasGemmStridedBatchedEx)
LAUNCHES(cublasSgemv_v2)
LAUNCHES(cublasSdot_v2)

int cublasLtMatmulDescCreate(void *descriptor, int compute, int scale) { return make(descriptor); }
int cublasLtMatmulPreferenceCreate(void *preference) { return make(preference); }
int cublasLtMatrixLayoutCreate(void *layout, int type, long rows, long columns, long stride) { return make(layout); }
NOTHING(cublasLtMatmulDescDestroy)
NOTHING(cublasLtMatmulDescSetAttribute)
NOTHING(cublasLtMatmulPreferenceDestroy)
NOTHING(cublasLtMatmulPreferenceSetAttribute)
NOTHING(cublasLtMatrixLayoutDestroy)
NOTHING(cublasLtMatrixLayoutSetAttribute)
LAUNCHES(cublasLtMatmul)
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                   int wanted, void *results, int *found) {
    memset(results, 0, 128); // one algorithm, without a workspace
    *found = 1;
    return 0;
}

// --- cuDNN. Convolutions go through its graphs ("backend"), of which a single plan is offered.

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    if (null_memory_left() < (32ul << 20))
        return CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
    return make(handle);
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t s) { return 0; }
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor) {
    return make(descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    free(descriptor);
    return 0;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) { return 0; }
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    return 0;
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted, int64_t *found, void *values) {
    int offered = name == CUDNN_ATTR_ENGINEHEUR_RESULTS || name == CUDNN_ATTR_ENGINECFG_ENGINE ||
                  name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG;
    int is_number = !offered && type == CUDNN_TYPE_INT64 && values && wanted;
    if (is_number)
        *(int64_t *)values = 0;
    if (found)
        *found = offered || is_number;
    return 0;
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    null_count(LAUNCH, "cudnnBackendExecute", "cudnnBackendExecute");
    return null_is_broken() ? CUDNN_STATUS_EXECUTION_FAILED : 0;
}

// The older calls, which batch norm still takes.
int cudnnCreateTensorDescriptor(void *descriptor) { return make(descriptor); }
int cudnnCreateFilterDescriptor(void *descriptor) { return make(descriptor); }
int cudnnCreateActivationDescriptor(void *descriptor) { return make(descriptor); }
NOTHING(cudnnSetTensorNdDescriptor)
NOTHING(cudnnSetFilterNdDescriptor)
NOTHING(cudnnSetActivationDescriptor)
NOTHING(cudnnDestroyTensorDescriptor)
NOTHING(cudnnDestroyFilterDescriptor)
NOTHING(cudnnDestroyActivationDescriptor)
LAUNCHES(cudnnBatchNormalizationForwardTrainingEx)
LAUNCHES(cudnnBatchNormalizationForwardInference)
LAUNCHES(cudnnBatchNormalizationBackwardEx)
int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void *handle, int mode, int ops, void *x, void *z, void *y,
                                                             void *statistics, void *activation, size_t *size) {
    return *size = 0;
}
int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void *handle, int mode, int ops, void *x, void *y, void *dy,
                                                      void *dz, void *dx, void *statistics, void *activation,
                                                      size_t *size) {
    return *size = 0;
}
int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *handle, int mode, int ops, void *activation, void *x,
                                                         size_t *size) {
    return *size = 0;
}
