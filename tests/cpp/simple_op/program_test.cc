// SPDX-License-Identifier: Apache-2.0
// Random programs: all instructions at once give the very bits that one instruction at a time gives, whatever the
// shapes, dtypes, aliasing and team.
#include <cstring>
#include <random>
#include <vector>

#include "backend/cpu/parallel.h"
#include "doctest.h"
#include "simple_op/program.h"
#include "simple_op/reduce.h"

namespace mxnet {
namespace {

constexpr Fn kFunctions[] = {Fn::add,     Fn::sub,   Fn::mul, Fn::maximum, Fn::minimum, Fn::relu, Fn::negative,
                             Fn::square,  Fn::abs,   Fn::div, Fn::greater, Fn::select,  Fn::clip, Fn::tanh,
                             Fn::sigmoid, Fn::floor, Fn::exp, Fn::equal,   Fn::hypot};

using Bytes = std::vector<unsigned char>;

struct Array {
  TensorSpec spec;
  Bytes bytes;
  Array(Shape shape, DType dtype) : spec{std::move(shape), dtype, Layout::plain} {
    bytes.resize(static_cast<size_t>(spec.shape.size()) * size_of(dtype) + 1);
  }
  void* data() { return bytes.data(); }
};

void fill(Array& a, std::mt19937& rng) {
  dispatch(a.spec.dtype, [&]<typename T>(TypeTag<T>) {
    for (int64_t i = 0; i < a.spec.shape.size(); ++i) {
      const T value = convert<T>(static_cast<float>(static_cast<int>(rng() % 41) - 20) / 8.0f);
      std::memcpy(a.bytes.data() + i * sizeof(T), &value, sizeof value);
    }
  });
}

void run(const Program& program, std::vector<Array*> in, Array& out, const std::vector<Scalar>& scalars,
         Req req = Req::write) {
  std::vector<TensorSpec> specs;
  std::vector<void*> pointers;
  for (Array* a : in) specs.push_back(a->spec), pointers.push_back(a->data());
  void* target = out.data();
  ProgramKernel::prepare(program, specs, {&out.spec, 1}, {&req, 1})->run(pointers.data(), &target, scalars.data());
}

struct Case {
  Program program;
  std::vector<Array> inputs;
  std::vector<Scalar> scalars;
  Shape shape;
  DType dtype;
};

Operand any(const Case& c, std::mt19937& rng, int made) {
  const int inputs = static_cast<int>(c.inputs.size()), scalars = static_cast<int>(c.scalars.size());
  const int pick = static_cast<int>(rng() % (inputs + scalars + 2 * made));
  if (pick < inputs) return {Operand::Kind::input, pick};
  if (pick < inputs + scalars) return {Operand::Kind::scalar, pick - inputs};
  return {Operand::Kind::result, std::max(0, made - 1 - (pick - inputs - scalars) % std::min(made, 3))};
}

Case random_case(std::mt19937& rng, DType dtype) {
  const Shape shapes[] = {{1}, {7}, {16}, {130}, {3, 5}, {4, 300}, {2, 3, 4, 5}, {70, 33}, {3, 1, 700}, {5000}};
  Case c;
  c.shape = shapes[rng() % std::size(shapes)];
  c.dtype = dtype;
  ProgramBuilder builder;
  for (int i = 0; i < 3; ++i) {
    Shape shape = c.shape;
    for (int axis = 0; axis < shape.rank() && i > 0; ++axis) {
      if (rng() % 3 == 0) shape[axis] = 1;
    }
    builder.input(dtype);
    c.inputs.emplace_back(shape, dtype);
    fill(c.inputs.back(), rng);
  }
  builder.scalar(dtype);
  c.scalars = {Scalar(1.5)};
  const int length = 1 + static_cast<int>(rng() % 9);
  Operand last;
  for (int k = 0; k < length; ++k) {
    const Fn fn = kFunctions[rng() % std::size(kFunctions)];
    last = builder.call(fn, dtype, any(c, rng, k), any(c, rng, k), any(c, rng, k));
  }
  builder.output(last, dtype);
  c.program = builder.take();
  return c;
}

// Every instruction is a program of its own; its operands are whole arrays in the dtype.
Array one_by_one(Case& c) {
  std::vector<Array> results;
  for (const Instruction& code : c.program.code) {
    ProgramBuilder builder;
    std::vector<Array*> in;
    Operand args[3];
    const Operand scalar = builder.scalar(c.dtype);
    for (int k = 0; k < arity_of(code.fn); ++k) {
      const Operand& arg = code.args[k];
      if (arg.kind == Operand::Kind::scalar) {
        args[k] = scalar;
        continue;
      }
      args[k] = builder.input(c.dtype);
      in.push_back(arg.kind == Operand::Kind::input ? &c.inputs[arg.index] : &results[arg.index]);
    }
    builder.output(builder.call(code.fn, c.dtype, args[0], args[1], args[2]), c.dtype);
    Array result(c.shape, c.dtype);
    run(builder.take(), in, result, c.scalars);
    results.push_back(std::move(result));
  }
  return std::move(results.back());
}

std::vector<Array*> pointers(std::vector<Array>& arrays) {
  std::vector<Array*> list;
  for (Array& a : arrays) list.push_back(&a);
  return list;
}

TEST_CASE("programs: fused, one by one, in place and on a team give the same bits") {
  std::mt19937 rng(1);
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i32, DType::u8, DType::i64}) {
    for (int round = 0; round < 120; ++round) {
      CAPTURE(name_of(dtype));
      CAPTURE(round);
      Case c = random_case(rng, dtype);
      const Array want = one_by_one(c);
      Array got(c.shape, dtype);
      run(c.program, pointers(c.inputs), got, c.scalars);
      REQUIRE(got.bytes == want.bytes);
      {
        cpu::TeamScope team(3);
        Array again(c.shape, dtype);
        run(c.program, pointers(c.inputs), again, c.scalars);
        REQUIRE(again.bytes == want.bytes);
      }
      run(c.program, pointers(c.inputs), c.inputs[0], c.scalars);  // the first input has the full shape
      REQUIRE(c.inputs[0].bytes == want.bytes);
    }
  }
}

TEST_CASE("programs: add to the output") {
  std::mt19937 rng(2);
  for (DType dtype : {DType::f32, DType::f16, DType::i32}) {
    for (int round = 0; round < 40; ++round) {
      Case c = random_case(rng, dtype);
      const Array result = one_by_one(c);
      Array got(c.shape, dtype), want(c.shape, dtype);
      fill(got, rng);
      dispatch(dtype, [&]<typename T>(TypeTag<T>) {
        for (int64_t i = 0; i < c.shape.size(); ++i) {
          T before, value;
          std::memcpy(&before, got.bytes.data() + i * sizeof(T), sizeof(T));
          std::memcpy(&value, result.bytes.data() + i * sizeof(T), sizeof(T));
          using U = std::conditional_t<std::is_integral_v<T>, uint64_t, compute_t<T>>;
          const T sum = static_cast<T>(static_cast<compute_t<T>>(static_cast<U>(before) + static_cast<U>(value)));
          std::memcpy(want.bytes.data() + i * sizeof(T), &sum, sizeof sum);
        }
      });
      run(c.program, pointers(c.inputs), got, c.scalars, Req::add);
      bool same = true;
      dispatch(dtype, [&]<typename T>(TypeTag<T>) {
        for (int64_t i = 0; i < c.shape.size(); ++i) {
          T a, b;
          std::memcpy(&a, got.bytes.data() + i * sizeof(T), sizeof(T));
          std::memcpy(&b, want.bytes.data() + i * sizeof(T), sizeof(T));
          same &= static_cast<compute_t<T>>(a) == static_cast<compute_t<T>>(b) || (a != a && b != b);
        }
      });
      REQUIRE(same);
    }
  }
}

double sum_directly(const Array& x, int64_t result, const Shape& shape, const std::vector<bool>& reduced) {
  double sum = 0;
  for (int64_t i = 0; i < shape.size(); ++i) {
    int64_t rest = i, at = 0, scale = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      if (!reduced[axis]) at += rest % shape[axis] * scale, scale *= shape[axis];
      rest /= shape[axis];
    }
    float value;
    std::memcpy(&value, x.bytes.data() + i * sizeof value, sizeof value);
    if (at == result) sum += value;
  }
  return sum;
}

TEST_CASE("reductions: any axes, the same bits on any team") {
  std::mt19937 rng(3);
  const Shape shapes[] = {{1},       {7},          {5, 3},      {3, 200},   {200, 3},
                          {4, 5, 6}, {2, 3, 4, 5}, {17, 1, 40}, {2, 90000}, {90000, 2}};
  for (const Shape& shape : shapes) {
    for (unsigned mask = 0; mask < 1u << shape.rank(); ++mask) {
      std::vector<bool> reduced(shape.rank());
      Shape left;
      for (int i = 0; i < shape.rank(); ++i) {
        reduced[i] = mask >> i & 1;
        if (!reduced[i]) left.push_back(shape[i]);
      }
      Array x(shape, DType::f32), out(left, DType::f32), again(left, DType::f32);
      fill(x, rng);
      ProgramBuilder builder;
      builder.output(builder.input(DType::f32), DType::f32);
      Reduction reduction;
      reduction.values = builder.take();
      const auto kernel = ReduceKernel::prepare(reduction, {&x.spec, 1}, x.spec, reduced, out.spec, Req::write);
      void* in = x.data();
      kernel->run(&in, out.data(), nullptr);
      cpu::TeamScope team(3);
      kernel->run(&in, again.data(), nullptr);
      REQUIRE(out.bytes == again.bytes);
      for (int k = 0; k < 3; ++k) {
        const int64_t i = static_cast<int64_t>(rng() % static_cast<uint64_t>(left.size()));
        float value;
        std::memcpy(&value, out.bytes.data() + i * sizeof value, sizeof value);
        REQUIRE(value == doctest::Approx(sum_directly(x, i, shape, reduced)).epsilon(1e-6));
      }
    }
  }
}

}  // namespace
}  // namespace mxnet
