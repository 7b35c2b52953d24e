/* SPDX-License-Identifier: Apache-2.0
 *
 * The C surface of the core: arrays, and every operator by name. It is what bindings of other languages stand on.
 *
 * Every function returns 0, or -1 after an error; MXGetLastError then tells what was wrong. No function throws, aborts
 * or prints. All may be called from any thread; one handle must not be freed while another thread uses it.
 *
 * Work is asynchronous: a function that computes returns when the work is queued. Reading an array waits for it, and
 * reports what failed while it was computed.
 */
#ifndef MXNET_C_API_H_
#define MXNET_C_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct MXNDArray* MXNDArrayHandle;

/* Element types; the numbers are those of array files. */
enum {
  MX_FLOAT32 = 0,
  MX_FLOAT64 = 1,
  MX_FLOAT16 = 2,
  MX_UINT8 = 3,
  MX_INT32 = 4,
  MX_INT8 = 5,
  MX_INT64 = 6,
  MX_BOOL = 7,
  MX_BFLOAT16 = 12
};

/* Device types; the numbers are those of array files. */
enum { MX_CPU = 1, MX_GPU = 2, MX_CPU_PINNED = 3, MX_CPU_SHARED = 5 };

/* The message of this thread's last error; "" if there was none. Valid until the thread's next error. */
const char* MXGetLastError(void);

/* The version as one number: 20100 is 2.1.0. */
int MXGetVersion(int* out);

/* ---- arrays ---- */

/* A new array with undefined contents. `shape` holds ndim sizes, none negative; ndim 0 makes a scalar. Free it with
 * MXNDArrayFree. */
int MXNDArrayCreate(const int64_t* shape, int ndim, int dtype, int dev_type, int dev_id, MXNDArrayHandle* out);

/* Gives the handle back; work that uses the array goes on. NULL is allowed. */
int MXNDArrayFree(MXNDArrayHandle handle);

/* The sizes; *out_shape belongs to the handle. */
int MXNDArrayGetShape(MXNDArrayHandle handle, int* out_ndim, const int64_t** out_shape);

int MXNDArrayGetDType(MXNDArrayHandle handle, int* out_dtype);

int MXNDArrayGetDevice(MXNDArrayHandle handle, int* out_dev_type, int* out_dev_id);

/* Copies `size` elements (not bytes), which must be all of the array's, in row-major order. Returns when the caller's
 * memory may be reused. */
int MXNDArraySyncCopyFromCPU(MXNDArrayHandle handle, const void* data, size_t size);
int MXNDArraySyncCopyToCPU(MXNDArrayHandle handle, void* data, size_t size);

/* Waits until the array's contents are computed, or those of all arrays. */
int MXNDArrayWaitToRead(MXNDArrayHandle handle);
int MXNDArrayWaitAll(void);

/* ---- operators ---- */

/* The names of all operators, aliases among them, sorted. Both belong to the library, for good. */
int MXListAllOpNames(int* out_size, const char* const** out_names);

/* Calls an operator. Parameters are given as text, as symbol files hold them: {"kernel", "(2, 2)"}, {"no_bias",
 * "True"}. An operator without inputs takes its device from the parameter "ctx" ("cpu(0)").
 *
 * Outputs: with *outputs == NULL and *num_outputs == 0 the operator makes new arrays, and both are set; the list is
 * valid until this thread's next MXInvokeOp, each handle in it until the caller frees it. Else *outputs lists
 * *num_outputs arrays, which are written and must have the right shape and type. */
int MXInvokeOp(const char* name, int num_inputs, const MXNDArrayHandle* inputs, int* num_outputs,
               MXNDArrayHandle** outputs, int num_params, const char* const* keys, const char* const* values);

#ifdef __cplusplus
}
#endif

#endif /* MXNET_C_API_H_ */
