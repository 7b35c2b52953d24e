// SPDX-License-Identifier: Apache-2.0
// Loops and branches as operators: _foreach, _while_loop and _cond. Their bodies are symbols, kept in the parameters of
// the node; files write them beside its attributes.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "symbol/symbol.h"

namespace mxnet {

struct Subgraphs {
  std::vector<Symbol> graphs;
  std::vector<uint8_t> mutated;  // per input of the node: a graph writes it

  // What the executor made of the graphs; filled when they are first run.
  mutable std::mutex mutex;
  mutable std::vector<std::shared_ptr<void>> compiled;
};

// Positions among a graph's inputs are those of Symbol::list_inputs.
// Inputs: the data that are walked along axis 0, the states, and what the body uses besides. The graph gives the output
// of one step, then the new states; outputs are the former stacked along a new axis 0, and the last states.
struct ForeachParams : Subgraphs {
  int64_t num_args = 0, num_outputs = 0, num_out_data = 0;
  Shape in_data_locs, in_state_locs, remain_locs;  // where the graph has the node's inputs
  static void declare(ParamSchemaOf<ForeachParams>& s);
};

// Graphs: the condition, and the step, which gives its output and then the new loop variables. At most max_iterations
// steps are run; outputs are the step outputs stacked, with zeros for steps that were not run, and the last variables.
struct WhileParams : Subgraphs {
  int64_t num_args = 0, num_outputs = 0, num_out_data = 0, max_iterations = 0;
  Shape cond_input_locs, func_input_locs;  // the node's inputs that the graphs read, in their order
  Shape func_var_locs;                     // where the step has each loop variable
  // The node's input that variable `i` starts from.
  int64_t start_of(int64_t i) const { return func_input_locs[static_cast<int>(func_var_locs[static_cast<int>(i)])]; }
  static void declare(ParamSchemaOf<WhileParams>& s);
};

// Graphs: the condition, and the two branches, which give the outputs.
struct CondParams : Subgraphs {
  int64_t num_args = 0, num_outputs = 0;
  Shape cond_input_locs, then_input_locs, else_input_locs;  // the node's inputs that the graphs read, in their order
  static void declare(ParamSchemaOf<CondParams>& s);
};

// Null if the operator has no subgraphs.
const Subgraphs* subgraphs_of(const OpDef& op, const Params& params);
// Gives a node's parameters, which nobody else holds yet, their graphs. Raises if they do not fit the parameters.
void set_subgraphs(const OpDef& op, Params& params, std::vector<Symbol> graphs);

// The part of a graph that was made inside a scope, as a graph of its own. A node is inside if its attribute
// `__subgraph_name__` is `scope`; variables and what outer nodes give become inputs.
struct SubgraphCut {
  Symbol graph;
  // Per input of the graph: one of `own`, or what it stands for outside.
  struct Input {
    int own = -1;
    Entry outer;
  };
  std::vector<Input> inputs;
};
// `own` are variables that stay as they are.
SubgraphCut cut_subgraph(const Symbol& outputs, const std::string& scope, std::span<const Symbol> own);

}  // namespace mxnet
