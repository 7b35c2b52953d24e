// SPDX-License-Identifier: Apache-2.0
// An extension that the tests build and load: a matrix product with a gradient, an operator with two outputs of other
// dtypes, one without a gradient that fails on request, and passes that rename or break graphs.
#include <mxnet/extension.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace {

thread_local std::string error;

int fail(const std::string& text) {
  error = text;
  return 1;
}

const char* last_error() { return error.c_str(); }

const char* find(const MXExtAttrs* attrs, const char* key) {
  for (size_t i = 0; i < attrs->size; ++i) {
    if (!std::strcmp(attrs->keys[i], key)) return attrs->values[i];
  }
  return nullptr;
}

// ---- my_gemm: C = scale * A B
float scale_of(const MXExtAttrs* attrs) {
  const char* text = find(attrs, "scale");
  return text ? std::strtof(text, nullptr) : 1.0f;
}

int gemm_shape(const MXExtAttrs*, MXExtShape* in, MXExtShape* out) {
  if (in[0].rank != 2 || in[1].rank != 2) return fail("my_gemm takes matrices");
  if (in[0].sizes[1] != in[1].sizes[0]) return fail("my_gemm: inner sizes differ");
  out[0].rank = 2;
  out[0].sizes[0] = in[0].sizes[0];
  out[0].sizes[1] = in[1].sizes[1];
  return 0;
}

// c (m, n) = scale * op(a) op(b), where op transposes on request; a is (m, k) or (k, m), b (k, n) or (n, k).
void multiply(float* c, const float* a, const float* b, int64_t m, int64_t k, int64_t n, float scale, bool ta, bool tb) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t p = 0; p < k; ++p) sum += (ta ? a[p * m + i] : a[i * k + p]) * (tb ? b[j * k + p] : b[p * n + j]);
      c[i * n + j] = scale * sum;
    }
  }
}

float* floats(const MXExtArray& array) { return static_cast<float*>(array.data); }

int gemm_forward(const MXExtAttrs* attrs, int, const MXExtArray* in, const MXExtArray* out) {
  if (in[0].dtype != 0) return fail("my_gemm takes float32");
  const int64_t m = in[0].shape.sizes[0], k = in[0].shape.sizes[1], n = in[1].shape.sizes[1];
  multiply(floats(out[0]), floats(in[0]), floats(in[1]), m, k, n, scale_of(attrs), false, false);
  return 0;
}

int gemm_backward(const MXExtAttrs* attrs, const MXExtArray* out_grad, const MXExtArray* in, const MXExtArray*,
                  const MXExtArray* in_grad) {
  const int64_t m = in[0].shape.sizes[0], k = in[0].shape.sizes[1], n = in[1].shape.sizes[1];
  const float scale = scale_of(attrs);
  multiply(floats(in_grad[0]), floats(out_grad[0]), floats(in[1]), m, n, k, scale, false, true);
  multiply(floats(in_grad[1]), floats(in[0]), floats(out_grad[0]), k, m, n, scale, true, false);
  return 0;
}

// ---- my_sign: whether each element is negative (int32), and the number of these (float64)
int sign_shape(const MXExtAttrs*, MXExtShape* in, MXExtShape* out) {
  out[0] = in[0];
  out[1].rank = 1;
  out[1].sizes[0] = 1;
  return 0;
}

int sign_type(const MXExtAttrs*, int32_t*, int32_t* out) {
  out[0] = 4;
  out[1] = 1;
  return 0;
}

int sign_forward(const MXExtAttrs* attrs, int, const MXExtArray* in, const MXExtArray* out) {
  if (find(attrs, "fail")) return fail("my_sign was asked to fail");
  int64_t size = 1;
  for (int i = 0; i < in[0].shape.rank; ++i) size *= in[0].shape.sizes[i];
  double count = 0;
  for (int64_t i = 0; i < size; ++i) {
    const bool negative = floats(in[0])[i] < 0;
    static_cast<int32_t*>(out[0].data)[i] = negative;
    count += negative;
  }
  *static_cast<double*>(out[1].data) = count;
  return 0;
}

// ---- passes
char* copy_of(const std::string& text) { return strdup(text.c_str()); }
void release(char* text) { std::free(text); }

int rename_relu(const MXExtAttrs* options, const char* graph, char** result) {
  std::string text = graph;
  const char* to = find(options, "to");
  const std::string from = "\"op\": \"relu\"", into = std::string("\"op\": \"") + (to ? to : "sigmoid") + "\"";
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += into.size()) {
    text.replace(at, from.size(), into);
  }
  *result = copy_of(text);
  return 0;
}

int broken(const MXExtAttrs*, const char*, char** result) {
  *result = copy_of("{\"nodes\": 3}");
  return 0;
}

int failing(const MXExtAttrs*, const char*, char**) { return fail("this pass always fails"); }

const char* const gemm_inputs[] = {"left", "right"};
const MXExtOp ops[] = {
    {"my_gemm", gemm_inputs, 2, 1, gemm_shape, nullptr, gemm_forward, gemm_backward},
    {"my_sign", nullptr, 1, 2, sign_shape, sign_type, sign_forward, nullptr},
};
const MXExtPass passes[] = {{"my_pass", rename_relu, release}, {"broken", broken, release}, {"failing", failing, release}};
const MXExtTable table = {MX_EXTENSION_VERSION, 2, ops, 3, passes, last_error};

}  // namespace

const MXExtTable* mxnet_extension() { return &table; }
