// What of the toolkit's own header does a C compiler need? CUDA's wheels hold every other header that is used here.
#pragma once
#define CUDARTAPI
#define __cudart_builtin__
#define __host__
#define __device__
#define __device_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __inline__ inline
#define __forceinline__ inline
