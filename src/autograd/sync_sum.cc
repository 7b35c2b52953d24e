// SPDX-License-Identifier: Apache-2.0
#include "autograd/sync_sum.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "autograd/composite.h"
#include "autograd/tape.h"
#include "base/env.h"
#include "engine/engine.h"

namespace mxnet::autograd {
namespace {

using Clock = std::chrono::steady_clock;

struct Part {
  const void* from;
  void* to;
  int64_t n;
  DType dtype;
};

// One sum: who takes part is settled when the calls are made, in the order of the program; the parts come when the
// engine has computed them.
class Round {
 public:
  Round(const SyncGroup& group) : group_(group) {}

  bool has(int device) const { return joined_.contains(device); }
  bool is_full() const { return static_cast<int>(joined_.size()) == group_.devices; }
  bool is_for(const SyncGroup& group) const { return group.devices == group_.devices; }
  int devices() const { return group_.devices; }
  void join(int device) {
    joined_[device];
    if (joined_.size() == 1) Engine::get().lift_bound(1);
  }
  Clock::time_point deadline() const { return deadline_; }
  bool is_over() const { return over_; }

  // What completes operations is taken out, to be called without the lock.
  using Completions = std::vector<std::pair<Done, std::exception_ptr>>;

  void arrive(int device, Part part, Done done, Completions& completions) {
    deadline_ = Clock::now() + std::chrono::seconds(env::settings().sync_timeout_s);
    if (over_) {
      completions.emplace_back(std::move(done), error_);
      return;
    }
    joined_[device] = std::make_unique<Arrival>(Arrival{part, std::move(done)});
    if (!is_full() || std::any_of(joined_.begin(), joined_.end(), [](auto& j) { return !j.second; })) return;
    const bool same = std::all_of(joined_.begin(), joined_.end(), [&](auto& j) {
      return j.second->part.n == part.n && j.second->part.dtype == part.dtype;
    });
    if (!same) return fail(str("the arrays of group '", group_.key, "' differ in size or dtype"), completions);
    if (part.dtype == DType::f64)
      add<double>(part.n);
    else
      add<float>(part.n);
    finish(nullptr, completions);
  }

  void fail(const std::string& why, Completions& completions) {
    if (over_) return;
    finish(std::make_exception_ptr(Error(ErrorKind::generic, str("sum over devices: ", why))), completions);
  }
  void time_out(Completions& completions) {
    const auto here = std::count_if(joined_.begin(), joined_.end(), [](auto& j) { return j.second != nullptr; });
    fail(str("only ", here, " of the ", group_.devices, " devices of group '", group_.key, "' came within ",
             env::settings().sync_timeout_s, " seconds"),
         completions);
  }

 private:
  struct Arrival {
    Part part;
    Done done;
  };

  template <typename T>
  void add(int64_t n) const {
    for (int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (const auto& [device, arrival] : joined_) sum += static_cast<const T*>(arrival->part.from)[i];
      for (const auto& [device, arrival] : joined_) static_cast<T*>(arrival->part.to)[i] = static_cast<T>(sum);
    }
  }
  void finish(std::exception_ptr error, Completions& completions) {
    over_ = true;
    error_ = error;
    for (auto& [device, arrival] : joined_) {
      if (arrival) completions.emplace_back(std::move(arrival->done), error);
    }
    Engine::get().lift_bound(-1);
  }

  SyncGroup group_;
  std::map<int, std::unique_ptr<Arrival>> joined_;  // by device; null until the part is there
  Clock::time_point deadline_ = Clock::time_point::max();
  bool over_ = false;
  std::exception_ptr error_;
};

// All rounds that are under way. Never destroyed: its thread may outlive main.
class Meeting {
 public:
  static Meeting& get() {
    static auto* meeting = new Meeting;
    return *meeting;
  }

  std::shared_ptr<Round> join(const SyncGroup& group, int device) {
    const std::lock_guard lock(mutex_);
    auto& rounds = open_[group.key];
    std::erase_if(rounds, [](auto& round) { return round->is_over(); });  // failed before all had joined
    auto at = std::find_if(rounds.begin(), rounds.end(), [&](auto& r) { return !r->has(device); });
    if (at == rounds.end()) at = rounds.insert(rounds.end(), std::make_shared<Round>(group));
    const std::shared_ptr<Round> round = *at;
    if (!round->is_for(group)) {
      fail(ErrorKind::value, "group '", group.key, "' has ", round->devices(), " devices for one call and ",
           group.devices, " for another");
    }
    round->join(device);
    if (round->is_full()) rounds.erase(at);
    if (rounds.empty()) open_.erase(group.key);
    return round;
  }

  void arrive(const std::shared_ptr<Round>& round, int device, Part part, Done done) {
    change([&](Round::Completions& completions) {
      round->arrive(device, part, std::move(done), completions);
      if (round->is_over()) return;
      waiting_.push_back(round);
      watch();
    });
  }
  void give_up(const std::shared_ptr<Round>& round) {
    change([&](Round::Completions& completions) { round->fail("a device's part failed", completions); });
  }

 private:
  template <typename F>
  void change(F f) {
    Round::Completions completions;
    {
      const std::lock_guard lock(mutex_);
      f(completions);
    }
    for (auto& [done, error] : completions) done(error);
  }

  // The devices are out of step: what one has joined beyond the round that failed must not meet later calls of others.
  void fail_open(Round::Completions& completions) {
    for (auto& [key, rounds] : open_) {
      for (const auto& round : rounds) round->fail("the devices are out of step", completions);
    }
    open_.clear();
  }

  // Ends rounds that wait for too long.
  void watch() {
    if (watched_) return;
    watched_ = true;
    std::thread([this] {
      while (true) {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        bool idle = false;
        change([&](Round::Completions& completions) {
          for (const auto& round : waiting_) {
            if (round->is_over() || Clock::now() <= round->deadline()) continue;
            round->time_out(completions);
            fail_open(completions);
          }
          std::erase_if(waiting_, [](auto& round) { return round->is_over(); });
          idle = waiting_.empty();
          if (idle) watched_ = false;
        });
        if (idle) return;
      }
    }).detach();
  }

  std::mutex mutex_;
  std::map<std::string, std::vector<std::shared_ptr<Round>>> open_;  // that devices may still join
  std::vector<std::shared_ptr<Round>> waiting_;
  bool watched_ = false;
};

// This device's place in a round. Dropped before its part came (what computes it failed), it ends the round.
struct Ticket {
  std::shared_ptr<Round> round;
  int device;
  bool used = false;

  Ticket(std::shared_ptr<Round> r, int d) : round(std::move(r)), device(d) {}
  ~Ticket() {
    if (!used) Meeting::get().give_up(round);
  }
};

struct SyncSumParams {
  std::string key;
  int ndev = 1;

  static void declare(ParamSchemaOf<SyncSumParams>& s) {
    s.field("key", &SyncSumParams::key, "Name of the group of devices.").required();
    s.field("ndev", &SyncSumParams::ndev, "Number of devices.").range(1, 1 << 16);
  }
};

// A device's part is in the sum of each, so its gradient is the sum of the gradients of all.
class SyncSumStep final : public CustomStep {
 public:
  SyncSumStep(const OpDef& op, SyncGroup group, const NDArray& part)
      : op_(op), group_(std::move(group)), part_(part.shell()) {
    group_.key += "/gradient";
  }
  std::string name() const override { return op_.name; }
  void backward(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    deliver(grads[0], sync_sum(group_, head_of(heads)), req[0]);
  }
  void backward_recorded(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    const Ref<Params> params = make_params<SyncSumParams>({.key = group_.key, .ndev = group_.devices});
    const NDArray head = head_of(heads);
    deliver(grads[0], call(op_, params, {&head, 1}, {})[0], req[0]);
  }

 private:
  NDArray head_of(std::span<const NDArray> heads) const {
    return heads[0].is_none() ? NDArray::zeros(part_.shape(), part_.dtype(), part_.device()) : heads[0];
  }
  const OpDef& op_;
  SyncGroup group_;
  NDArray part_;  // without memory
};

void run(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
         Device) {
  const auto& p = params->as<SyncSumParams>();
  const SyncGroup group{p.key, p.ndev};
  out[0] = sync_sum(group, *in[0]);
  if (would_record(in)) record_custom(make_ref<SyncSumStep>(op, group, *in[0]), in, out);
}

const RegisterOp sum{{
    .name = "_sync_sum",
    .doc = "The sum of an array over the devices of a group.",
    .params = schema_of<SyncSumParams>(),
    .inputs = Inputs{"data"},
    .infer = {infer::same_shape, infer::same_dtype},
    .gradient = Gradient::none(),
    .kernels = {},
    .flags = {.hidden = true},
}};
const RegisterComposite runs{"_sync_sum", {run}};

}  // namespace

NDArray sync_sum(const SyncGroup& group, const NDArray& part) {
  if (part.dtype() != DType::f32 && part.dtype() != DType::f64) {
    fail(ErrorKind::type, "sum over devices: expected float32 or float64, got ", name_of(part.dtype()));
  }
  if (Engine::get().naive()) {
    fail(ErrorKind::not_supported,
         "sum over devices: the calls of the devices wait for each other, which "
         "MXNET_ENGINE_TYPE=NaiveEngine cannot do");
  }
  part.make_plain();
  NDArray sum = NDArray::empty(part.shape(), part.dtype(), part.device());
  const int device = part.device().id;
  auto ticket = std::make_unique<Ticket>(Meeting::get().join(group, device), device);
  OpProps props;
  props.name = "_sync_sum";
  props.lane = Lane::host;
  props.device = part.device();
  Var* const reads[] = {&part.var()};
  Var* const writes[] = {&sum.var()};
  Engine::get().push_async(
      [ticket = std::move(ticket), part = part.detached(), sum](RunContext&, Done done) {
        ticket->used = true;
        Meeting::get().arrive(ticket->round, ticket->device,
                              {part.data(), sum.data(), part.shape().size(), part.dtype()}, std::move(done));
      },
      reads, writes, props);
  return sum;
}

}  // namespace mxnet::autograd
