// SPDX-License-Identifier: Apache-2.0
#include "operator/call_plan.h"

#include <bit>
#include <cstring>

#include "base/env.h"
#include "base/error.h"

namespace mxnet {
namespace {

// Below this a single call runs on one thread, in ns of it. Less than in plans, whose steps follow each other on cores
// that are awake; a team that finds no core, or a caller that wants one, goes on alone (backend/cpu/parallel.cc).
constexpr int64_t kCallTeamCost = 150'000;

class WordBuffer {
 public:
  void clear() { size_ = 0; }
  void add(uint64_t word) {
    if (size_ == words_.size()) words_.resize(2 * size_);
    words_[size_++] = word;
  }
  void add(const uint64_t* words, size_t count) {
    if (count == 0) return;
    while (size_ + count > words_.size()) words_.resize(2 * words_.size());
    std::memcpy(words_.data() + size_, words, count * sizeof(uint64_t));
    size_ += count;
  }
  std::span<const uint64_t> words() const { return {words_.data(), size_}; }

 private:
  std::vector<uint64_t> words_ = std::vector<uint64_t>(128);
  size_t size_ = 0;
};

uint64_t hash_words(std::span<const uint64_t> words) {
  uint64_t h = 0x9E3779B97F4A7C15ull;
  for (uint64_t w : words) h = std::rotl((h ^ w) * 0xff51afd7ed558ccdull, 29);
  return h ^ (h >> 32);
}

void write_key(WordBuffer& key, const CallSignature& s) {
  key.clear();
  key.add(reinterpret_cast<uintptr_t>(&s.op));
  uint64_t bits = s.training && s.op.flags.training_mode;
  for (size_t i = 0; i < s.req.size() && i < 24; ++i) bits |= static_cast<uint64_t>(s.req[i]) << (2 * i + 1);
  key.add(bits | static_cast<uint64_t>(s.in.size()) << 50);
  const auto add_array = [&key](const NDArray& a) {
    const Shape& shape = a.shape();
    const Layout layout = a.is_none() ? Layout::plain : a.layout();
    key.add(static_cast<uint64_t>(a.dtype()) | static_cast<uint64_t>(layout) << 8 |
            static_cast<uint64_t>(shape.rank()) << 16 | static_cast<uint64_t>(a.is_none()) << 32 |
            static_cast<uint64_t>(a.is_none() ? StorageType::dense : a.storage()) << 40);
    key.add(reinterpret_cast<const uint64_t*>(shape.data()), static_cast<size_t>(shape.rank()));
  };
  for (const NDArray* a : s.in) add_array(*a);
  if (s.in.empty()) {
    for (const NDArray& a : s.given) add_array(a);
  }
  for (const StorageType storage : s.storage) key.add(static_cast<uint64_t>(storage));
  const std::vector<uint64_t>& params = s.params->key();
  key.add(params.data(), params.size());
}

// Set-associative, so bounded without bookkeeping: a new plan takes the oldest place of its set.
class PlanCache {
 public:
  PlanCache()
      : sets_(std::bit_ceil(static_cast<size_t>(env::settings().kernel_cache) / kWays)), slots_(sets_ * kWays) {}

  Ref<CallPlan>* find(uint64_t hash, std::span<const uint64_t> key) {
    Ref<CallPlan>* set = &slots_[(hash & (sets_ - 1)) * kWays];
    for (size_t i = 0; i < kWays && set[i]; ++i) {
      const std::vector<uint64_t>& k = set[i]->key;
      if (k.size() == key.size() && std::memcmp(k.data(), key.data(), key.size_bytes()) == 0) return &set[i];
    }
    return nullptr;
  }
  void insert(uint64_t hash, Ref<CallPlan> plan) {
    Ref<CallPlan>* set = &slots_[(hash & (sets_ - 1)) * kWays];
    for (size_t i = kWays - 1; i > 0; --i) set[i] = std::move(set[i - 1]);
    set[0] = std::move(plan);
  }

 private:
  static constexpr size_t kWays = 8;
  size_t sets_;
  std::vector<Ref<CallPlan>> slots_;
};

std::string describe(const CallPlan& plan) {
  std::string text = plan.op->name + "(";
  for (size_t i = 0; i < plan.in.size() && i < 8; ++i) {
    text += str(i ? ", " : "", name_of(plan.in[i].dtype), plan.in[i].shape);
  }
  return text + (plan.in.size() > 8 ? ", ...)" : ")");
}

void prepare(CallPlan& plan, const Params& params, bool training, int team) {
  plan.in_layout.assign(plan.in.size(), Layout::plain);
  plan.kernel =
      prepare_kernel({*plan.op, params, plan.in, plan.in_layout, plan.out, plan.req, training, team}, plan.choice);
}

Ref<CallPlan> build(const CallSignature& s, std::span<const TensorSpec> known_out) {
  Ref<CallPlan> plan = make_ref<CallPlan>();
  plan->op = &s.op;
  for (const NDArray* a : s.in) plan->in.push_back({a->shape(), a->dtype(), a->layout(), a->storage()});
  plan->req.assign(s.req.begin(), s.req.end());
  const size_t n_out = s.req.size();
  if (known_out.empty()) {
    plan->out.assign(n_out, {Shape::unknown(), DType::unknown, Layout::plain});
    for (size_t i = 0; s.in.empty() && i < s.given.size(); ++i) {
      if (!s.given[i].is_none()) plan->out[i] = {s.given[i].shape(), s.given[i].dtype(), Layout::plain};
    }
    infer_all(s.op, *s.params, plan->in, plan->out);
  } else {
    plan->out.assign(known_out.begin(), known_out.end());
  }
  for (size_t i = 0; i < s.storage.size(); ++i) plan->out[i].storage = s.storage[i];
  plan->signature = describe(*plan);
  const int team = env::settings().threads;
  prepare(*plan, *s.params, s.training, team);
  plan->inline_ok = plan->kernel->cost_with_packs() < env::settings().inline_ns;
  plan->alone = team > 1 && plan->kernel->cost_with_packs() < kCallTeamCost;
  // The same object serves inline and queued runs, so that both give the same bits.
  if (plan->alone && plan->kernel->team_matters) prepare(*plan, *s.params, s.training, 1);
  plan->direct = plan->kernel->scratch == 0 && plan->kernel->random_draws == 0 && !s.op.inputs.mutates_any() &&
                 plan->kernel->packs.empty();
  for (size_t i = 0; i < plan->in.size(); ++i) plan->direct &= plan->in_layout[i] == plan->in[i].layout;
  for (size_t i = 0; i < n_out; ++i) plan->direct &= plan->req[i] == Req::write;
  return plan;
}

}  // namespace

Ref<CallPlan> make_call_plan(const CallSignature& signature, std::span<const TensorSpec> known_out) {
  return build(signature, known_out);
}

Ref<CallPlan> find_call_plan(const CallSignature& signature) {
  thread_local WordBuffer key;
  thread_local PlanCache cache;
  write_key(key, signature);
  const uint64_t hash = hash_words(key.words());
  if (Ref<CallPlan>* found = cache.find(hash, key.words())) return *found;
  Ref<CallPlan> plan = build(signature, {});
  plan->key.assign(key.words().begin(), key.words().end());
  cache.insert(hash, plan);
  return plan;
}

}  // namespace mxnet
