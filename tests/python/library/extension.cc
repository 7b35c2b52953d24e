// SPDX-License-Identifier: Apache-2.0
// An extension that the tests build and load: a matrix product with a gradient, an operator with two outputs of other
// dtypes, one without a gradient that fails on request, passes that rename or break graphs, and a partitioner that runs
// exp, log and products.
#include <mxnet/extension.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

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

// ---- my_backend: a partitioner whose subgraphs are run node by node
struct Step {
  std::string op;
  std::vector<int> in;
};
struct Program {
  std::vector<Step> steps;  // a variable is a step without operator
  std::vector<int> outputs;
};
int programs = 0;  // alive

bool runs(const char* op) { return !std::strcmp(op, "exp") || !std::strcmp(op, "log") || !std::strcmp(op, "elemwise_mul"); }

int backend_supported(const MXExtAttrs* options, const MXExtGraph* graph, int32_t* supported) {
  if (find(options, "fail")) return fail("my_backend was asked to fail");
  const char* without = find(options, "without");
  for (int32_t i = 0; i < graph->num_nodes; ++i) {
    const char* op = graph->nodes[i].op;
    supported[i] = runs(op) && !(without && !std::strcmp(op, without));
  }
  return 0;
}

int backend_accept(const MXExtAttrs* options, const MXExtGraph* subgraph, int32_t* accepted) {
  const char* least = find(options, "least");
  int operators = 0;
  for (int32_t i = 0; i < subgraph->num_nodes; ++i) operators += std::strcmp(subgraph->nodes[i].op, "null") != 0;
  if (least) *accepted = operators >= std::atoi(least);
  return 0;
}

int backend_create(const MXExtAttrs*, const MXExtGraph* graph, void** state) {
  auto* program = new Program;
  for (int32_t i = 0; i < graph->num_nodes; ++i) {
    const MXExtNode& node = graph->nodes[i];
    Step step{std::strcmp(node.op, "null") ? node.op : "", {}};
    for (int32_t k = 0; k < node.num_inputs; ++k) step.in.push_back(node.inputs[k].node);
    program->steps.push_back(step);
  }
  for (int32_t i = 0; i < graph->num_outputs; ++i) program->outputs.push_back(graph->outputs[i].node);
  ++programs;
  *state = program;
  return 0;
}

void backend_destroy(void* state) {
  --programs;
  delete static_cast<Program*>(state);
}

int64_t size_of(const MXExtArray& array) {
  int64_t size = 1;
  for (int i = 0; i < array.shape.rank; ++i) size *= array.shape.sizes[i];
  return size;
}

std::vector<std::vector<float>> values_of(const Program& program, const MXExtArray* in) {
  std::vector<std::vector<float>> values;
  for (const Step& step : program.steps) {
    if (step.op.empty()) {
      const MXExtArray& array = *in++;
      values.emplace_back(floats(array), floats(array) + size_of(array));
      continue;
    }
    std::vector<float> result = values[step.in[0]];
    for (size_t i = 0; i < result.size(); ++i) {
      if (step.op == "exp") result[i] = std::exp(result[i]);
      if (step.op == "log") result[i] = std::log(result[i]);
      if (step.op == "elemwise_mul") result[i] *= values[step.in[1]][i];
    }
    values.push_back(result);
  }
  return values;
}

int backend_forward(void* state, int, const MXExtArray* in, const MXExtArray* out) {
  const auto& program = *static_cast<Program*>(state);
  const auto values = values_of(program, in);
  for (size_t k = 0; k < program.outputs.size(); ++k) {
    std::copy(values[program.outputs[k]].begin(), values[program.outputs[k]].end(), floats(out[k]));
  }
  return 0;
}

int backend_backward(void* state, const MXExtArray* out_grad, const MXExtArray* in, const MXExtArray*,
                     const MXExtArray* in_grad) {
  const auto& program = *static_cast<Program*>(state);
  const auto values = values_of(program, in);
  std::vector<std::vector<float>> grads;
  for (const auto& value : values) grads.emplace_back(value.size(), 0.0f);
  for (size_t k = 0; k < program.outputs.size(); ++k) {
    auto& grad = grads[program.outputs[k]];
    for (size_t i = 0; i < grad.size(); ++i) grad[i] += floats(out_grad[k])[i];
  }
  for (size_t n = program.steps.size(); n-- > 0;) {
    const Step& step = program.steps[n];
    for (size_t i = 0; !step.op.empty() && i < values[n].size(); ++i) {
      const float grad = grads[n][i];
      if (step.op == "exp") grads[step.in[0]][i] += grad * values[n][i];
      if (step.op == "log") grads[step.in[0]][i] += grad / values[step.in[0]][i];
      if (step.op != "elemwise_mul") continue;
      grads[step.in[0]][i] += grad * values[step.in[1]][i];
      grads[step.in[1]][i] += grad * values[step.in[0]][i];
    }
  }
  for (size_t n = 0; n < program.steps.size(); ++n) {
    if (program.steps[n].op.empty()) std::copy(grads[n].begin(), grads[n].end(), floats(*in_grad++));
  }
  return 0;
}

const char* const gemm_inputs[] = {"left", "right"};
const MXExtOp ops[] = {
    {"my_gemm", gemm_inputs, 2, 1, gemm_shape, nullptr, gemm_forward, gemm_backward},
    {"my_sign", nullptr, 1, 2, sign_shape, sign_type, sign_forward, nullptr},
};
const MXExtPass passes[] = {{"my_pass", rename_relu, release}, {"broken", broken, release}, {"failing", failing, release}};
const MXExtPartitioner partitioners[] = {{"my_backend", backend_supported, backend_accept, backend_create,
                                          backend_destroy, backend_forward, backend_backward}};
const MXExtTable table = {MX_EXTENSION_VERSION, 2, ops, 3, passes, last_error, 1, partitioners};

}  // namespace

const MXExtTable* mxnet_extension() { return &table; }

// For the test: how many subgraphs are bound.
extern "C" __attribute__((visibility("default"))) int live_programs() { return programs; }
