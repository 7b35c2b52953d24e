/* SPDX-License-Identifier: Apache-2.0
 * A program in C: the header must compile as C, and an operator must be callable with nothing else. */
#include <mxnet/c_api.h>
#include <stdio.h>
#include <string.h>

#include "program.h"

static char message[512];

#define CHECK(condition)                                                                                        \
  do {                                                                                                          \
    if (!(condition)) {                                                                                         \
      snprintf(message, sizeof message, "line %d: %s; last error: %s", __LINE__, #condition, MXGetLastError()); \
      return message;                                                                                           \
    }                                                                                                           \
  } while (0)

/* relu(FullyConnected(x)) with x = (1, 2), weight = ((1, 1), (-1, -1)): (3, 0). */
const char* run_c_program(void) {
  const int64_t x_shape[] = {1, 2};
  const int64_t weight_shape[] = {2, 2};
  const float x_data[] = {1, 2};
  const float weight_data[] = {1, 1, -1, -1};
  const char* keys[] = {"num_hidden", "no_bias"};
  const char* values[] = {"2", "True"};
  MXNDArrayHandle in[2];
  MXNDArrayHandle* out = NULL;
  MXNDArrayHandle hidden;
  MXNDArrayHandle* result = NULL;
  int n = 0;
  int ndim = 0;
  const int64_t* shape = NULL;
  float data[2];

  CHECK(MXNDArrayCreate(x_shape, 2, MX_FLOAT32, MX_CPU, 0, &in[0]) == 0);
  CHECK(MXNDArrayCreate(weight_shape, 2, MX_FLOAT32, MX_CPU, 0, &in[1]) == 0);
  CHECK(MXNDArraySyncCopyFromCPU(in[0], x_data, 2) == 0);
  CHECK(MXNDArraySyncCopyFromCPU(in[1], weight_data, 4) == 0);

  CHECK(MXInvokeOp("FullyConnected", 2, in, &n, &out, 2, keys, values) == 0);
  CHECK(n == 1);
  hidden = out[0];
  n = 0;
  CHECK(MXInvokeOp("relu", 1, &hidden, &n, &result, 0, NULL, NULL) == 0);
  CHECK(n == 1);
  CHECK(MXNDArrayGetShape(result[0], &ndim, &shape) == 0);
  CHECK(ndim == 2 && shape[0] == 1 && shape[1] == 2);
  CHECK(MXNDArrayWaitToRead(result[0]) == 0);
  CHECK(MXNDArraySyncCopyToCPU(result[0], data, 2) == 0);
  CHECK(data[0] == 3.0f && data[1] == 0.0f);

  CHECK(MXNDArrayFree(result[0]) == 0);
  CHECK(MXNDArrayFree(hidden) == 0);
  CHECK(MXNDArrayFree(in[0]) == 0);
  CHECK(MXNDArrayFree(in[1]) == 0);
  CHECK(MXNDArrayFree(NULL) == 0);
  return NULL;
}
