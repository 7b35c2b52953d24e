# SPDX-License-Identifier: Apache-2.0
"""Cuts the graph of a symbol file into subgraphs of supported nodes, and puts one node in the place of each."""
from __future__ import annotations

import json

__all__ = ["partition"]


class _Units:
    """Groups of nodes, none of which ever reads, through others, from itself."""

    def __init__(self, graph, supported):
        self.inputs = [[entry[0] for entry in node["inputs"]] for node in graph["nodes"]]
        self.unit_of = list(range(len(self.inputs)))  # a node is the first one of its unit, or alone
        self.members = {i: [i] for i in range(len(self.inputs))}
        for i, node in enumerate(graph["nodes"]):
            if supported[i] and node["op"] != "null":
                for source in self.inputs[i]:
                    if supported[source] and graph["nodes"][source]["op"] != "null":
                        self._join(self.unit_of[source], self.unit_of[i])

    def _reads(self, unit):
        return {self.unit_of[source] for member in self.members[unit] for source in self.inputs[member]} - {unit}

    def _depends(self, unit, on):
        pending, seen = [unit], set()
        while pending:
            unit = pending.pop()
            if unit == on:
                return True
            if unit not in seen:
                seen.add(unit)
                pending.extend(self._reads(unit))
        return False

    def _join(self, a, b):
        """One unit of two, unless another one lies between them."""
        if a == b or any(self._depends(unit, a) for unit in self._reads(b) - {a}) \
                or any(self._depends(unit, b) for unit in self._reads(a) - {b}):
            return
        for member in self.members.pop(b):
            self.unit_of[member] = a
            self.members[a].append(member)

    def ordered(self):
        """The units such that each comes after those it reads."""
        done, result = set(), []
        pending = sorted(self.members, reverse=True)
        while pending:
            unit = pending.pop()
            if unit in done:
                continue
            missing = [other for other in self._reads(unit) if other not in done]
            if missing:
                pending.extend([unit, *missing])
                continue
            done.add(unit)
            result.append((unit, sorted(self.members[unit])))
        return result


def _entry(entry):
    return entry[0], entry[1]


def _subgraph(graph, members, states):
    """The nodes as a graph of its own; its inputs and outputs as entries of the whole."""
    nodes, inside = graph["nodes"], set(members)
    reads = [_entry(entry) for i in members for entry in nodes[i]["inputs"] if entry[0] not in inside]
    inputs = sorted(dict.fromkeys(reads), key=lambda entry: nodes[entry[0]]["name"] in states)  # states come last
    read_outside = [_entry(entry) for i, node in enumerate(nodes) if i not in inside for entry in node["inputs"]]
    read_outside += [_entry(head) for head in graph["heads"]]
    outputs = [entry for entry in dict.fromkeys(read_outside) if entry[0] in inside]
    place = {entry: [i, 0, 0] for i, entry in enumerate(inputs)}
    where = {member: len(inputs) + i for i, member in enumerate(members)}

    def moved(entry):
        return [where[entry[0]], entry[1], 0] if entry[0] in inside else place[_entry(entry)]

    names = [nodes[i]["name"] if nodes[i]["op"] == "null" else f"{nodes[i]['name']}_output{k}" for i, k in inputs]
    made = [{"op": "null", "name": name, "inputs": []} for name in names]
    made += [{**nodes[i], "inputs": [moved(entry) for entry in nodes[i]["inputs"]]} for i in members]
    cut = {"nodes": made, "arg_nodes": list(range(len(inputs))), "heads": [moved(entry) for entry in outputs]}
    return cut, inputs, outputs


def partition(graph, supported, accepts, op_type, options, states):
    """The graph with a node of the custom operator `op_type` for each subgraph that `accepts` takes.

    `graph` is the contents of a symbol file, `supported` a flag for each of its nodes, `states` the names of auxiliary
    states. Outputs of the graph keep their order, but not their names where an operator of the extension gives them.
    """
    read = [entry for node in graph["nodes"] for entry in node["inputs"]] + graph["heads"]
    last_output = {}
    for i, k, *_ in read:
        last_output[i] = max(k, last_output.get(i, 0))
    result, moved = [], {}
    for number, (_, members) in enumerate(_Units(graph, supported).ordered()):
        first = graph["nodes"][members[0]]
        if supported[members[0]] and first["op"] != "null":
            cut, inputs, outputs = _subgraph(graph, members, states)
            if accepts(cut):
                moved.update({entry: [len(result), k, 0] for k, entry in enumerate(outputs)})
                result.append({"op": "Custom", "name": f"{op_type}{number}",
                               "attrs": {"op_type": op_type, "subgraph": json.dumps(cut),
                                         "options": json.dumps(options)},
                               "inputs": [moved[entry] for entry in inputs]})
                continue
        for i in members:
            node = graph["nodes"][i]
            moved.update({(i, k): [len(result), k, 0] for k in range(last_output.get(i, 0) + 1)})
            result.append({**node, "inputs": [moved[_entry(entry)] for entry in node["inputs"]]})
    return {**{key: value for key, value in graph.items() if key == "attrs"}, "nodes": result,
            "arg_nodes": [i for i, node in enumerate(result) if node["op"] == "null"],
            "heads": [moved[_entry(head)] for head in graph["heads"]]}
