// SPDX-License-Identifier: Apache-2.0
// What each part of the core does around fork(). One list, because the order between the parts matters.
#pragma once

namespace mxnet {

struct ForkHandlers {
  int order;  // `prepare` runs from small to large, `parent` and `child` from large to small
  void (*prepare)();
  void (*parent)();
  void (*child)();
};

inline constexpr int kForkEngine = 0;    // finishes all work first, while everybody else can still run
inline constexpr int kForkStorage = 10;  // then locks are held across the fork
inline constexpr int kForkOther = 20;

// Registered for the life of the process; at most 16. Any pointer may be null.
void register_fork_handlers(const ForkHandlers& handlers);

}  // namespace mxnet
