// SPDX-License-Identifier: Apache-2.0
// A move-only callable with room for usual captures inside the object: no allocation up to `kInlineBytes`.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace mxnet {

template <typename Signature>
class UniqueFunction;

template <typename R, typename... Args>
class UniqueFunction<R(Args...)> {
 public:
  static constexpr size_t kInlineBytes = 80;

  UniqueFunction() = default;
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, UniqueFunction> && std::is_invocable_r_v<R, F&, Args...>)
  UniqueFunction(F&& f) {
    using T = std::remove_cvref_t<F>;
    if constexpr (fits<T>()) {
      ::new (storage_) T(std::forward<F>(f));
    } else {
      *reinterpret_cast<T**>(storage_) = new T(std::forward<F>(f));
    }
    table_ = &kTable<T>;
  }
  UniqueFunction(UniqueFunction&& other) noexcept { take(other); }
  UniqueFunction& operator=(UniqueFunction&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~UniqueFunction() { reset(); }

  R operator()(Args... args) { return table_->call(storage_, std::forward<Args>(args)...); }
  explicit operator bool() const { return table_ != nullptr; }

  // Destroys the callable and what it captured.
  void reset() {
    if (table_) std::exchange(table_, nullptr)->destroy(storage_);
  }

 private:
  struct Table {
    R (*call)(void*, Args&&...);
    void (*move)(void* to, void* from);
    void (*destroy)(void*);
  };

  template <typename T>
  static constexpr bool fits() {
    return sizeof(T) <= kInlineBytes && alignof(T) <= alignof(std::max_align_t) &&
           std::is_nothrow_move_constructible_v<T>;
  }
  template <typename T>
  static T* object(void* storage) {
    if constexpr (fits<T>())
      return static_cast<T*>(storage);
    else
      return *static_cast<T**>(storage);
  }
  template <typename T>
  static constexpr Table kTable = {
      [](void* storage, Args&&... args) -> R { return (*object<T>(storage))(std::forward<Args>(args)...); },
      [](void* to, void* from) {
        if constexpr (fits<T>()) {
          ::new (to) T(std::move(*object<T>(from)));
          object<T>(from)->~T();
        } else {
          *static_cast<T**>(to) = *static_cast<T**>(from);
        }
      },
      [](void* storage) {
        if constexpr (fits<T>())
          object<T>(storage)->~T();
        else
          delete object<T>(storage);
      }};

  void take(UniqueFunction& other) {
    table_ = std::exchange(other.table_, nullptr);
    if (table_) table_->move(storage_, other.storage_);
  }

  alignas(std::max_align_t) unsigned char storage_[kInlineBytes];
  const Table* table_ = nullptr;
};

}  // namespace mxnet
