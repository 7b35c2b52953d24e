/* SPDX-License-Identifier: Apache-2.0
 *
 * Extensions: shared libraries with operators, graph passes and partitioners, loaded at run time by
 * mx.library.load(path).
 *
 * An extension exports one function, mxnet_extension, that returns a table which lives as long as the library. The
 * interface is plain C, so an extension need not be built with the compiler, or the standard library, of the framework.
 *
 * Operators become mx.nd.<name> and mx.sym.<name>; keyword arguments of a call arrive as text. Functions return 0, or
 * anything else after an error; the table's last_error then tells what was wrong. They may be called from any thread,
 * one at a time for each call of an operator; they must not throw.
 */
#ifndef MXNET_EXTENSION_H_
#define MXNET_EXTENSION_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MX_EXTENSION_VERSION
#define MX_EXTENSION_VERSION 2
#endif
#define MX_EXTENSION_MAX_RANK 32

/* Keyword arguments: `size` pairs of text. */
typedef struct {
  const char* const* keys;
  const char* const* values;
  size_t size;
} MXExtAttrs;

/* A shape: `rank` sizes. In inference, unknown inputs have a rank of -1. */
typedef struct {
  int32_t rank;
  int64_t sizes[MX_EXTENSION_MAX_RANK];
} MXExtShape;

/* A dense array on the CPU, last axis fastest. `dtype` is one of the numbers of c_api.h (0: float32, 1: float64, ...).
 */
typedef struct {
  void* data;
  MXExtShape shape;
  int32_t dtype;
} MXExtArray;

typedef struct {
  const char* name;               /* an identifier */
  const char* const* input_names; /* num_inputs of them; null: data0, data1, ... */
  int32_t num_inputs;
  int32_t num_outputs;
  /* Fills `out`; may fill inputs that are unknown. */
  int (*infer_shape)(const MXExtAttrs* attrs, MXExtShape* in, MXExtShape* out);
  /* Fills `out`; dtypes are numbers, -1 is unknown. Null: all have the dtype of the first input. */
  int (*infer_type)(const MXExtAttrs* attrs, int32_t* in, int32_t* out);
  /* Writes the outputs. */
  int (*forward)(const MXExtAttrs* attrs, int is_train, const MXExtArray* in, const MXExtArray* out);
  /* Writes the gradients of the inputs. Null: the operator has no gradient. */
  int (*backward)(const MXExtAttrs* attrs, const MXExtArray* out_grad, const MXExtArray* in, const MXExtArray* out,
                  const MXExtArray* in_grad);
} MXExtOp;

typedef struct {
  const char* name; /* what Symbol.optimize_for takes */
  /* From a graph to another, as JSON text in the form of symbol files. Whoever calls releases `result` by `release`. */
  int (*run)(const MXExtAttrs* options, const char* graph, char** result);
  void (*release)(char* result);
} MXExtPass;

/* A graph as partitioners see it: nodes in topological order, each after what it reads. Valid during the call. */
typedef struct {
  int32_t node;  /* position in `nodes` */
  int32_t index; /* which of its outputs */
} MXExtEntry;

typedef struct {
  const char* op; /* "null" for a variable */
  const char* name;
  MXExtAttrs attrs; /* parameters of the operator and attributes of the user, as text */
  int32_t num_inputs;
  const MXExtEntry* inputs;
} MXExtNode;

typedef struct {
  int32_t num_nodes;
  const MXExtNode* nodes;
  int32_t num_outputs;
  const MXExtEntry* outputs;
} MXExtGraph;

/* A backend that takes parts of graphs over. Nodes that it supports and that are connected become subgraphs, such that
 * nothing outside lies between two nodes of one; an operator of the extension runs each. The inputs of that operator
 * are the variables of the subgraph in their order, its outputs those of the subgraph. Inputs are only read: an
 * auxiliary state keeps its value. */
typedef struct {
  const char* name; /* the backend: what Symbol.optimize_for takes */
  /* Sets supported[i] to 1 for each node of `graph` that the backend runs; all are 0 before. */
  int (*supported)(const MXExtAttrs* options, const MXExtGraph* graph, int32_t* supported);
  /* Sets *accepted, which is 1 before, to 0 for a subgraph that is better left as it was. Null: all are accepted. */
  int (*accept)(const MXExtAttrs* options, const MXExtGraph* subgraph, int32_t* accepted);
  /* Makes what runs a subgraph, once for each place where it is bound; `options` are those of optimize_for. */
  int (*create)(const MXExtAttrs* options, const MXExtGraph* subgraph, void** state);
  void (*destroy)(void* state); /* may be null */
  int (*forward)(void* state, int is_train, const MXExtArray* in, const MXExtArray* out);
  /* Writes the gradients of the inputs. Null: subgraphs have no gradient. */
  int (*backward)(void* state, const MXExtArray* out_grad, const MXExtArray* in, const MXExtArray* out,
                  const MXExtArray* in_grad);
} MXExtPartitioner;

typedef struct {
  int32_t version; /* MX_EXTENSION_VERSION; tables of version 1, which end before num_partitioners, are read too */
  int32_t num_ops;
  const MXExtOp* ops;
  int32_t num_passes;
  const MXExtPass* passes;
  const char* (*last_error)(void); /* of this thread; may be null */
  int32_t num_partitioners;
  const MXExtPartitioner* partitioners;
} MXExtTable;

#if defined(_WIN32)
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
const MXExtTable* mxnet_extension(void);

#ifdef __cplusplus
}
#endif
#endif /* MXNET_EXTENSION_H_ */
