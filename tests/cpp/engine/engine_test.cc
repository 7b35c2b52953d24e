// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace mxnet {
namespace {

using namespace std::chrono_literals;

struct Gate {  // holds an operation until it is opened
  std::promise<void> promise;
  std::shared_future<void> opened{promise.get_future()};
  void open() { promise.set_value(); }
};

void push(Engine& engine, std::vector<Var*> reads, std::vector<Var*> writes, UniqueFunction<void(RunContext&)> fn,
          OpProps props = {.name = "test"}) {
  engine.push(std::move(fn), reads, writes, props);
}

void push_failing(Engine& engine, std::vector<Var*> reads, std::vector<Var*> writes, const std::string& message) {
  push(engine, reads, writes, [message](RunContext&) { fail(ErrorKind::value, message); });
}

// "" if nothing was thrown.
std::string message_of(UniqueFunction<void()> f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("engine: a claim is all or nothing") {
  Engine engine({});
  Var a, b, c;
  Var* reads[] = {&a, &b};
  Var* writes[] = {&c};
  REQUIRE(engine.try_begin_inline(reads, 2, writes, 1));
  Var* a_only[] = {&a};
  CHECK_FALSE(engine.try_begin_inline(nullptr, 0, a_only, 1));  // read elsewhere
  CHECK(engine.try_begin_inline(a_only, 1, nullptr, 0));        // reads are shared
  engine.end_inline(a_only, 1, nullptr, 0);
  CHECK_FALSE(engine.try_begin_inline(writes, 1, nullptr, 0));  // written elsewhere
  engine.end_inline(reads, 2, writes, 1);
  CHECK(a.idle());
  CHECK(b.idle());
  CHECK(c.idle());
}

TEST_CASE("engine: repeated variables, and the same variable on both sides") {
  Engine engine({});
  Var a, b;
  Var* reads[] = {&a, &b, &b, &a};
  Var* writes[] = {&a, &a};
  REQUIRE(engine.try_begin_inline(reads, 4, writes, 2));
  engine.end_inline(reads, 4, writes, 2);
  CHECK(a.idle());
  CHECK(b.idle());
  int value = 0;
  engine.push([&](RunContext&) { value = 1; }, reads, writes, {});
  engine.wait_to_read(a);
  CHECK(value == 1);
}

TEST_CASE("engine: inline work falls back to the queue while a variable is queued on") {
  Engine engine({});
  Var a;
  Gate gate;
  push(engine, {}, {&a}, [opened = gate.opened](RunContext&) { opened.wait(); });
  Var* list[] = {&a};
  CHECK_FALSE(engine.try_begin_inline(list, 1, nullptr, 0));
  CHECK_FALSE(engine.try_begin_inline(nullptr, 0, list, 1));
  gate.open();
  engine.wait_to_write(a);
  CHECK(engine.try_begin_inline(nullptr, 0, list, 1));
  engine.end_inline(nullptr, 0, list, 1);
}

TEST_CASE("engine: a queued operation waits for inline work that holds its variable") {
  Engine engine({});
  Var a;
  Var* list[] = {&a};
  std::atomic<bool> ran{false};
  REQUIRE(engine.try_begin_inline(list, 1, nullptr, 0));
  std::thread other([&] { push(engine, {}, {&a}, [&](RunContext&) { ran = true; }); });
  std::this_thread::sleep_for(5ms);
  CHECK_FALSE(ran.load());
  engine.end_inline(list, 1, nullptr, 0);
  other.join();
  engine.wait_to_read(a);
  CHECK(ran.load());
}

TEST_CASE("engine: completion from other threads, and several forms of it") {
  for (const bool naive : {false, true}) {
    CAPTURE(naive);
    Engine engine({.naive = naive});
    Var a;
    Var* list[] = {&a};
    int value = 0;
    std::thread helper;
    engine.push_async(
        [&](RunContext&, Done done) {
          helper = std::thread([&, done = std::move(done)]() mutable {
            std::this_thread::sleep_for(2ms);
            value = 7;
            done();
          });
        },
        {}, list, {});
    engine.wait_to_read(a);
    CHECK(value == 7);
    helper.join();

    engine.push_async([](RunContext&, Done done) { done(std::make_exception_ptr(Error(ErrorKind::os, "io"))); }, {},
                      list, {});
    CHECK(message_of([&] { engine.wait_to_read(a); }) == "io");
    engine.push_async([](RunContext&, Done) { fail("thrown"); }, {}, list, {});
    CHECK(message_of([&] { engine.wait_to_read(a); }) == "thrown");
    engine.push_async([](RunContext&, Done) {}, {}, list, {.name = "forgetful"});
    CHECK(message_of([&] { engine.wait_to_read(a); }) ==
          "operation 'forgetful' dropped its completion without calling it");
    CHECK_NOTHROW(engine.wait_all());
  }
}

TEST_CASE("engine: a written variable can be released early") {
  Engine engine({});
  Var early, late;
  Gate gate;
  push(engine, {}, {&early, &late}, [&, opened = gate.opened](RunContext& context) {
    context.release(early);
    context.release(early);
    opened.wait();
  });
  engine.wait_to_read(early);  // would hang otherwise
  CHECK(engine.pending() == 1);
  gate.open();
  engine.wait_to_read(late);
}

TEST_CASE("engine: an error is delivered once, to whoever waits first, and cleared everywhere") {
  for (const bool naive : {false, true}) {
    CAPTURE(naive);
    Engine engine({.naive = naive});
    Var a, b, c, d;
    bool ran = false;
    push_failing(engine, {}, {&a, &b}, "bad");
    push(engine, {&a}, {&c}, [&](RunContext&) { ran = true; });
    push(engine, {&c}, {&d}, [&](RunContext&) { ran = true; });
    CHECK(message_of([&] { engine.wait_to_read(d); }) == "bad");
    CHECK_FALSE(ran);
    CHECK_NOTHROW(engine.wait_to_read(a));
    CHECK_NOTHROW(engine.wait_to_write(b));
    CHECK_NOTHROW(engine.wait_all());
    push(engine, {&b}, {&d}, [&](RunContext&) { ran = true; });  // usable again
    engine.wait_to_read(d);
    CHECK(ran);
    Var* list[] = {&a, &b, &c, &d};
    CHECK(engine.try_begin_inline(list, 4, nullptr, 0));
    engine.end_inline(list, 4, nullptr, 0);
  }
}

TEST_CASE("engine: wait_all throws the oldest error and forgets the others") {
  for (const bool naive : {false, true}) {
    Engine engine({.naive = naive});
    Var a, b;
    push_failing(engine, {}, {&a}, "first");
    engine.wait_to_write(b);
    push_failing(engine, {}, {&b}, "second");
    CHECK(message_of([&] { engine.wait_all(); }) == "first");
    CHECK_NOTHROW(engine.wait_all());
    CHECK_NOTHROW(engine.wait_to_read(a));
    CHECK_NOTHROW(engine.wait_to_read(b));
  }
}

TEST_CASE("engine: an operation without variables reports through wait_all") {
  Engine engine({});
  push_failing(engine, {}, {}, "callback");
  CHECK(message_of([&] { engine.wait_all(); }) == "callback");
}

TEST_CASE("engine: a full overwrite clears the error, a partial one passes it on") {
  for (const bool naive : {false, true}) {
    Engine engine({.naive = naive});
    Var a, b;
    push_failing(engine, {}, {&a}, "bad");
    push(engine, {&a}, {&a}, [](RunContext&) { FAIL("ran on a failed input"); });
    push(engine, {&a}, {&b}, [](RunContext&) { FAIL("ran on a failed input"); });
    push(engine, {}, {&a}, [](RunContext&) {});
    CHECK_NOTHROW(engine.wait_to_read(a));
    CHECK(message_of([&] { engine.wait_to_read(b); }) == "bad");
    CHECK_NOTHROW(engine.wait_all());
  }
}

TEST_CASE("engine: inline failures are stored like queued ones") {
  Engine engine({});
  Var a, b;
  Var* list[] = {&a};
  REQUIRE(engine.try_begin_inline(nullptr, 0, list, 1));
  engine.mark_error(list, 1, std::make_exception_ptr(Error(ErrorKind::index, "inline")));
  engine.end_inline(nullptr, 0, list, 1);
  CHECK_FALSE(engine.try_begin_inline(list, 1, nullptr, 0));
  push(engine, {&a}, {&b}, [](RunContext&) { FAIL("ran on a failed input"); });
  CHECK(message_of([&] { engine.wait_to_read(b); }) == "inline");
  CHECK_NOTHROW(engine.throw_if_error(a));
  CHECK(engine.try_begin_inline(list, 1, list, 1));
  engine.end_inline(list, 1, list, 1);
}

TEST_CASE("engine: waiting inside a compute operation is an error, not a deadlock") {
  Engine engine({});
  Var a, b;
  std::string by_var, by_all;
  push(engine, {}, {&a}, [&](RunContext&) {
    by_var = message_of([&] { engine.wait_to_read(a); });
    engine.wait_all();  // nothing was pushed by this operation
    push(engine, {}, {&b}, [](RunContext&) {});
    by_all = message_of([&] { engine.wait_all(); });
  });
  engine.wait_to_read(a);
  CHECK(by_var.find("writes itself") != std::string::npos);
  CHECK(by_all.find("would wait for itself") != std::string::npos);
}

TEST_CASE("engine: waiting for what the operation itself holds is an error, not a deadlock") {
  for (const bool naive : {false, true}) {
    CAPTURE(naive);
    Engine engine({.naive = naive});
    Var read, written;
    std::string for_written, for_read;
    push(engine, {&read}, {&written},
         [&](RunContext&) {
           engine.wait_to_read(read);
           for_read = message_of([&] { engine.wait_to_write(read); });
           for_written = message_of([&] { engine.wait_to_read(written); });
         },
         {.name = "callback", .lane = Lane::host});
    engine.wait_to_read(written);
    CHECK(for_written == "operation 'callback' waited for an array that it writes itself");
    CHECK(for_read == "operation 'callback' waited for an array that it reads itself");
  }
}

TEST_CASE("engine: callbacks may push and wait, however many of them") {
  Engine engine({});
  constexpr int kCallbacks = 12;
  std::vector<Var> outer(kCallbacks), inner(kCallbacks);
  std::atomic<int> sum{0};
  for (size_t i = 0; i < kCallbacks; ++i) {
    push(engine, {}, {&outer[i]},
         [&, i](RunContext&) {
           push(engine, {}, {&inner[i]}, [&](RunContext&) { ++sum; }, {.lane = Lane::host});
           engine.wait_to_read(inner[i]);
           push(engine, {}, {&inner[i]}, [&](RunContext&) { ++sum; });
           engine.wait_all();  // inside an operation: for what it pushed
         },
         {.name = "callback", .lane = Lane::host});
  }
  engine.wait_all();
  CHECK(sum == 2 * kCallbacks);
}

TEST_CASE("engine: the caller sleeps at the run-ahead bounds") {
  for (const bool by_bytes : {false, true}) {
    CAPTURE(by_bytes);
    Engine engine({.run_ahead_ops = by_bytes ? 1000 : 8, .run_ahead_bytes = 8000});
    Var a;
    std::atomic<int64_t> most{0};
    for (int i = 0; i < 200; ++i) {
      push(engine, {}, {&a}, [](RunContext&) { std::this_thread::sleep_for(50us); }, {.bytes = by_bytes ? 1000 : 0});
      most = std::max(most.load(), engine.pending());
    }
    engine.wait_all();
    CHECK(most <= 8);
    CHECK(most >= 2);
  }
}

TEST_CASE("engine: urgent operations first") {
  Engine engine({});
  Gate gate;
  Var block;
  push(engine, {}, {&block}, [opened = gate.opened](RunContext&) { opened.wait(); });
  std::vector<Var> vars(6);
  std::vector<int> order;
  for (int i = 0; i < 6; ++i) {
    push(engine, {&block}, {&vars[static_cast<size_t>(i)]}, [&order, i](RunContext&) { order.push_back(i); },
         {.priority = i / 2});
  }
  gate.open();
  engine.wait_all();
  CHECK(order == std::vector<int>{4, 5, 2, 3, 0, 1});
}

TEST_CASE("engine: the hook interrupts a wait, and the work goes on") {
  Engine engine({});
  Var a, b;
  Gate gate;
  int value = 0;
  push(engine, {}, {&a}, [&, opened = gate.opened](RunContext&) {
    opened.wait();
    value = 1;
  });
  engine.set_wait_hook([] { return true; });
  CHECK_THROWS_AS(engine.wait_to_read(a), WaitInterrupted);
  CHECK_THROWS_AS(engine.wait_to_write(a), WaitInterrupted);
  CHECK_THROWS_AS(engine.wait_all(), WaitInterrupted);
  engine.set_wait_hook(nullptr);
  push(engine, {&a}, {&b}, [&](RunContext&) { value *= 10; });
  gate.open();
  engine.wait_to_read(b);
  CHECK(value == 10);
}

TEST_CASE("engine: the sleep hooks surround every sleep") {
  static std::atomic<int> inside{0}, sleeps{0};
  Engine engine({});
  engine.set_sleep_hooks(
      []() -> void* {
        ++inside;
        ++sleeps;
        return &inside;
      },
      [](void* state) { --*static_cast<std::atomic<int>*>(state); });
  Var a;
  push(engine, {}, {&a}, [](RunContext&) { std::this_thread::sleep_for(5ms); });
  engine.wait_to_read(a);
  CHECK(inside == 0);
  CHECK(sleeps == 1);
  engine.set_sleep_hooks(nullptr, nullptr);
}

TEST_CASE("engine: captures are released before wait_all returns") {
  Engine engine({});
  Var a;
  for (int i = 0; i < 200; ++i) {
    auto held = std::make_shared<int>(i);
    const std::weak_ptr<int> watch = held;
    push(engine, {}, {&a}, [held = std::move(held)](RunContext&) {});
    engine.wait_all();
    CHECK(watch.expired());
  }
}

TEST_CASE("engine: after shutdown work runs on the caller") {
  Engine engine({});
  Var a;
  int value = 0;
  push(engine, {}, {&a}, [&](RunContext&) { value = 1; });
  engine.shutdown();
  CHECK(value == 1);
  push(engine, {}, {&a}, [&](RunContext& context) { value = context.inline_run ? 2 : 3; });
  CHECK(value == 2);
  engine.shutdown();
}

TEST_CASE("engine: deferred releases run at the next entry, once") {
  int released = 0;
  std::thread([&] { Engine::defer_release([&] { ++released; }); }).join();
  CHECK(released == 0);
  Engine::drain_deferred();
  Engine::drain_deferred();
  CHECK(released == 1);
}

TEST_CASE("engine: an observer sees queued operations by name") {
  static std::atomic<int> begun{0}, ended{0};
  static const Observer observer{
      [](const char* name, Lane, bool inline_run) { begun += std::string(name) == "seen" && !inline_run; },
      [](const char*, Lane, bool) { ++ended; }};
  Engine engine({});
  Var a;
  engine_observer = &observer;
  push(engine, {}, {&a}, [](RunContext&) {}, {.name = "seen"});
  engine.wait_all();
  engine_observer = nullptr;
  CHECK(begun == 1);
  CHECK(ended == 1);
}

TEST_CASE("function: small captures stay inside, large ones move too") {
  struct Large {
    char bytes[256] = {42};
  };
  Large large;
  UniqueFunction<int(int)> f = [large](int x) { return x + large.bytes[0]; };
  UniqueFunction<int(int)> g = std::move(f);
  CHECK_FALSE(f);
  CHECK(g(1) == 43);
  auto counted = std::make_shared<int>(5);
  g = [counted](int x) { return x * *counted; };
  CHECK(counted.use_count() == 2);
  CHECK(g(3) == 15);
  g.reset();
  CHECK(counted.use_count() == 1);
}

}  // namespace mxnet
