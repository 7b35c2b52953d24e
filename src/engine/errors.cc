// SPDX-License-Identifier: Apache-2.0
// Where failures are kept until somebody is told.
#include <algorithm>

#include "base/error.h"
#include "engine/core.h"

namespace mxnet::engine_detail {
namespace {

constexpr size_t kMaxUntold = 64;  // wait_all throws the oldest; more than this need not be kept for it

}  // namespace

// The error mutex is held.
void Core::forget(Var& var) {
  var.error_.reset();
  var.word_.fetch_and(~Var::kError, std::memory_order_release);
}

// The error mutex is held. True if the variable bears no error (any more).
bool Core::clear_if_told(Var& var) {
  if (var.error_ && !var.error_->delivered) return false;
  forget(var);
  return true;
}

// Looks for an error among what the operation reads.
bool Core::find_input_error(Op* op) {
  for (const Dep& dep : op->deps()) {
    if (!dep.read || !dep.var->bears_error()) continue;
    std::lock_guard lock(error_mutex_);
    if (!clear_if_told(*dep.var)) {
      op->inherited = dep.var->error_;
      return true;
    }
  }
  return false;
}

// Gives the operation's outcome to what it writes.
void Core::settle_errors(Op* op, std::exception_ptr error) {
  if (!error) error = op->thrown;
  if (op->reported && !op->dropped) error = op->reported;
  if (!error && op->dropped) {
    error = std::make_exception_ptr(
        Error(ErrorKind::generic, str("operation '", op->props.name, "' dropped its completion without calling it")));
  }
  Ref<ErrorRecord> record = op->inherited;
  if (error) record = make_ref<ErrorRecord>(std::move(error));
  if (!record) {
    for (const Dep& dep : op->deps()) {
      if (!dep.write || dep.retired || !dep.var->bears_error()) continue;
      std::lock_guard lock(error_mutex_);
      forget(*dep.var);
    }
    return;
  }
  std::lock_guard lock(error_mutex_);
  for (const Dep& dep : op->deps()) {
    if (!dep.write || dep.retired) continue;
    dep.var->error_ = record;
    dep.var->word_.fetch_or(Var::kError, std::memory_order_release);
  }
  if (record.get() != op->inherited.get() && untold_.size() < kMaxUntold) untold_.push_back(record);
}

void Core::mark(std::span<Var* const> vars, std::exception_ptr error) {
  const Ref<ErrorRecord> record = make_ref<ErrorRecord>(std::move(error));
  std::lock_guard lock(error_mutex_);
  for (Var* var : vars) {
    var->error_ = record;
    var->word_.fetch_or(Var::kError, std::memory_order_release);
  }
  if (untold_.size() < kMaxUntold) untold_.push_back(record);
}

void Core::deliver(Var& var) {
  if (!var.bears_error()) return;
  Ref<ErrorRecord> record;
  {
    std::lock_guard lock(error_mutex_);
    record = var.error_;
    forget(var);
    if (!record || record->delivered.exchange(true)) return;
    std::erase(untold_, record);
  }
  std::rethrow_exception(record->exception);
}

void Core::deliver_oldest() {
  std::vector<Ref<ErrorRecord>> records;
  {
    std::lock_guard lock(error_mutex_);
    records.swap(untold_);
    for (const Ref<ErrorRecord>& record : records) record->delivered = true;
  }
  if (!records.empty()) std::rethrow_exception(records.front()->exception);
}

bool Core::forget_told_errors(Var* const* list, size_t n) {
  bool cleared = false;
  for (size_t i = 0; i < n; ++i) {
    if (!list[i]->bears_error()) continue;
    std::lock_guard lock(error_mutex_);
    if (!clear_if_told(*list[i])) return false;
    cleared = true;
  }
  return cleared;
}

}  // namespace mxnet::engine_detail
